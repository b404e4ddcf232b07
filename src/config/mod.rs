//! Text in, [`Config`](crate::model::settings::Config) out: every problem at once, each with its place.
