//! The target `maintenance_command` as a program.

#![cfg_attr(fuzzing, no_main)]

fuzz::program!(maintenance_command);
