//! Every metric, declared once, as typed handles.
