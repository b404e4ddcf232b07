//! Text in, [`Config`] out: every problem at once, each with its place.
//!
//! The way of the text: `document` reads YAML into nodes that know where they were written, `variables` fills in `${…}`,
//! `check` lowers the nodes section by section and notes what is wrong, `secret` blackens what a report must not show.
//! Nodes and hand-written lowering rather than derived structs, because a derived `Deserialize` stops at the first mistake and
//! an operator wants all of them.

mod check;
mod document;
mod duration;
mod environment;
mod field;
mod load;
mod problems;
mod render;
mod secret;
mod section;
mod variables;
pub mod watch;
mod word;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use environment::{Environment, ReadFault};
pub use load::{default_path, load};
pub use render::{Paint, Style, render, render_json};

use self::environment::Surroundings;
use self::problems::Problems;
use crate::model::settings::Config;
use crate::model::{Problem, Severity, Source};

/// A configuration that can be used.
#[derive(Debug)]
pub struct Loaded {
    /// Valid by construction.
    pub config: Config,
    /// What is allowed but probably not meant.
    pub warnings: Vec<Problem>,
    /// Files and folders whose change means reload; see [`watch`].
    pub watched: Vec<PathBuf>,
}

/// Turns the text of a configuration into settings, or into everything that is wrong with it.
///
/// Relative paths in it start at the folder of `source.name`; what it refers to is asked from `environment`.
pub fn parse(source: &Arc<Source>, environment: &dyn Environment) -> Result<Loaded, Vec<Problem>> {
    let problems = Problems::new(source);
    let mut root = match document::read(source) {
        Ok(root) => root,
        Err(problem) => {
            problems.note(problem);
            return Err(problems.finish(secret::mask_lines(&source.text)));
        }
    };
    let folder = Path::new(&source.name).parent().unwrap_or(Path::new(""));
    let surroundings = Surroundings::new(folder, environment);
    surroundings.watch(Path::new(&source.name));
    variables::fill(&mut root, &surroundings, &problems);
    let config = check::lower(&root, source, &surroundings, &problems);
    let problems = problems.finish(secret::mask_nodes(&source.text, &root));
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(problems);
    }
    Ok(Loaded { config, warnings: problems, watched: surroundings.watched() })
}
