//! The target `http_command` as a program.

#![cfg_attr(fuzzing, no_main)]

fuzz::program!(http_command);
