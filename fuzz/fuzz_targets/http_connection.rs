//! The target `http_connection` as a program.

#![cfg_attr(fuzzing, no_main)]

fuzz::program!(http_connection);
