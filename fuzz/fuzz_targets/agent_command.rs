//! The target `agent_command` as a program.

#![cfg_attr(fuzzing, no_main)]

fuzz::program!(agent_command);
