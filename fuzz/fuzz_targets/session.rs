//! The target `session` as a program.

#![cfg_attr(fuzzing, no_main)]

fuzz::program!(session);
