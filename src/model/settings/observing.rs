use std::path::PathBuf;

/// `access_log:`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// Where the lines go.
    pub output: LogOutput,
    /// Members that are left out.
    pub omit: Vec<String>,
}

/// `access_log.output`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogOutput {
    /// The standard output.
    Stdout,
    /// Appended to a file.
    File(PathBuf),
    /// Nowhere.
    None,
}
