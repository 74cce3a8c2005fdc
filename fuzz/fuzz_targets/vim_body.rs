//! The target `vim_body` as a program.

#![cfg_attr(fuzzing, no_main)]

fuzz::program!(vim_body);
