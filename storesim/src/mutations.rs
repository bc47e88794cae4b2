//! What a simulation can take away from the store, as a table: each line becomes a variant, with a name for the
//! command line.

use std::{process::ExitCode, time::Duration};

/// An enum made by `mutations!`.
pub trait MutationTable: Copy + Send + Sync + Sized + 'static {
    /// All of them.
    const MUTATIONS: &'static [Self];

    /// Name on the command line.
    fn name(self) -> &'static str;

    /// The mutation of that name, or what names there are.
    fn named(name: &str) -> Result<Self, String> {
        let found = Self::MUTATIONS.iter().copied().find(|mutation| mutation.name() == name);
        found.ok_or_else(|| {
            let names: Vec<_> = Self::MUTATIONS.iter().map(|mutation| mutation.name()).collect();
            format!("there are {}", names.join(", "))
        })
    }

    /// Prints whether the simulation noticed it; success if it did. `played`: how much of what, "12 seeds".
    fn report(self, noticed: bool, played: &str, took: Duration) -> ExitCode {
        let verdict = if noticed { "noticed" } else { "NOT noticed" };
        println!("{} {verdict} after {played} in {took:.1?}", self.name());
        if noticed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Declares the enum `Mutation` of one simulation.
macro_rules! mutations {
    ($($(#[$what:meta])* $mutation:ident = $name:literal,)+) => {
        /// What is missing.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutation {
            $($(#[$what])* $mutation,)+
        }

        impl $crate::MutationTable for Mutation {
            const MUTATIONS: &'static [Mutation] = &[$(Mutation::$mutation),+];

            fn name(self) -> &'static str {
                match self {
                    $(Mutation::$mutation => $name,)+
                }
            }
        }
    };
}
pub(crate) use mutations;
