//! `mqstore` over stores that were written by the real code on ordinary files: what it says about whole ones, about
//! each kind of damage, beside a store that is being written, after a repair; and copies of stores.

mod backup;
mod beside;
mod flips;
mod fuzz;
mod whole;
mod written;
