//! The target `server_event` as a program.

#![cfg_attr(fuzzing, no_main)]

fuzz::program!(server_event);
