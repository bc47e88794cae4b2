//! Shapes of bodies, one example per family.
