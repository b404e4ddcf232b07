//! The flow itself.
