//! Assembly: from a configuration file to a running process, and from a running process to another configuration.

mod assemble;
mod caretaker;
mod reload;
mod run;
mod stop;
mod succession;

pub use assemble::{assemble, assemble_with};
pub use reload::{Reloaded, reload};
pub use run::{Outlook, StartError, run};
pub use succession::{Predecessor, SuccessionError};
