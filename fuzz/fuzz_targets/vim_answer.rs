//! The target `vim_answer` as a program.

#![cfg_attr(fuzzing, no_main)]

fuzz::program!(vim_answer);
