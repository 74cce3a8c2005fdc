//! The target `ini` as a program.

#![cfg_attr(fuzzing, no_main)]

fuzz::program!(ini);
