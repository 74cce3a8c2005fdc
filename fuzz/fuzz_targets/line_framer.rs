//! The target `line_framer` as a program.

#![cfg_attr(fuzzing, no_main)]

fuzz::program!(line_framer);
