//! Whole databases: in memory, and in directories that are thrown away.

mod commits;
mod directory;
mod fixture;
mod history;
mod reorganisation;
mod threads;
mod verify;
