//! What shall happen? The only home of Rhai.
