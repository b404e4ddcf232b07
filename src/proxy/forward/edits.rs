use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use pingora::http::ResponseHeader;
use pingora::prelude::Result;

use crate::model::Plan;
use crate::model::settings::HeaderEdits;

/// The header fields of a message: a request's are edited as they are, an answer's through pingora, which keeps its capitals.
pub(super) trait Fields {
    fn remove(&mut self, name: &HeaderName);
    fn set(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<()>;
    fn add(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<()>;
}

impl Fields for HeaderMap {
    fn remove(&mut self, name: &HeaderName) {
        self.remove(name);
    }

    fn set(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<()> {
        self.insert(name, value.clone());
        Ok(())
    }

    fn add(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<()> {
        self.append(name, value.clone());
        Ok(())
    }
}

impl Fields for ResponseHeader {
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
