//! What is owed?
