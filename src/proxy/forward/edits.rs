use http::header::{HeaderName, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::Result;

use crate::model::Plan;
use crate::model::settings::HeaderEdits;

/// The header fields of a message, whichever way it goes: pingora's two types have the same methods and nothing in common.
pub(super) trait Fields {
    fn remove(&mut self, name: &HeaderName);
    fn set(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<()>;
    fn add(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<()>;
}

macro_rules! fields {
    ($message:ty) => {
        impl Fields for $message {
            fn remove(&mut self, name: &HeaderName) {
                self.remove_header(name);
            }

            fn set(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<()> {
                self.insert_header(name.clone(), value)
            }

            fn add(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<()> {
                self.append_header(name.clone(), value).map(|_| ())
            }
        }
    };
}

fields!(RequestHeader);
fields!(ResponseHeader);

/// What a route changes.
pub(super) fn apply(edits: &HeaderEdits, message: &mut impl Fields) -> Result<()> {
    for name in &edits.remove {
        message.remove(name);
    }
    for (name, value) in &edits.set {
        message.set(name, value)?;
    }
    for (name, value) in &edits.add {
        message.add(name, value)?;
    }
    Ok(())
}

/// What rules asked for.
pub(super) fn apply_plan(plan: &Plan, message: &mut impl Fields) -> Result<()> {
    for (name, value) in &plan.header_edits {
        match value {
            Some(value) => message.set(name, value)?,
            None => message.remove(name),
        }
    }
    Ok(())
}
