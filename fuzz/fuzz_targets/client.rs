//! The target `client` as a program.

#![cfg_attr(fuzzing, no_main)]

fuzz::program!(client);
