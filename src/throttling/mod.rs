//! May it happen now?
