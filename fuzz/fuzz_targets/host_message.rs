//! The target `host_message` as a program.

#![cfg_attr(fuzzing, no_main)]

fuzz::program!(host_message);
