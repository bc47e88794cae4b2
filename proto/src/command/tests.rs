//! Behaviour of headers as a whole.
