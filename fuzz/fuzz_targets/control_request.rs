//! The target `control_request` as a program.

#![cfg_attr(fuzzing, no_main)]

fuzz::program!(control_request);
