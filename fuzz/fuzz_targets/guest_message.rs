//! The target `guest_message` as a program.

#![cfg_attr(fuzzing, no_main)]

fuzz::program!(guest_message);
