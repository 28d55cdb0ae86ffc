//! Options of applications, and the model's own settings.

use std::fs;

use anyhow::Context as _;
use clap::Subcommand;

use super::Session;
use super::args::{Output, option_file, pairs, plain};
use crate::api::Request;

#[derive(Debug, Subcommand)]
pub(super) enum Config {
    /// Show or set an application's options
    #[command(name = "config")]
    Application {
        application: String,
        /// key to show, or key=value to set; key=@FILE sets what the file holds
        values: Vec<String>,
        /// Options that get their defaults back
        #[arg(long, value_delimiter = ',')]
        reset: Vec<String>,
        /// A YAML file of options, below the application's name
        #[arg(long)]
        file: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Show or set the model's settings
    #[command(name = "model-config")]
    Model {
        /// key to show, or key=value to set
        values: Vec<String>,
        #[command(flatten)]
        output: Output,
    },
}

pub(super) fn run(session: &Session, command: Config) -> anyhow::Result<()> {
    match command {
        Config::Application { application, values, reset, file, output } => {
            config(session, application, &values, reset, file.as_deref(), &output)
        }
        Config::Model { values, output } => model_config(session, values, &output),
    }
}

fn config(
    session: &Session,
    application: String,
    values: &[String],
    reset: Vec<String>,
    file: Option<&str>,
    output: &Output,
) -> anyhow::Result<()> {
    let (set, show): (Vec<String>, Vec<String>) = values.iter().cloned().partition(|v| v.contains('='));
    let mut set = pairs(&set)?;
    for value in set.values_mut() {
        if let Some(file) = value.strip_prefix('@') {
            *value = fs::read_to_string(file).with_context(|| format!("cannot read option file {file}"))?;
        }
    }
    if let Some(file) = file {
        set.extend(option_file(file, Some(&application))?);
    }
    if !set.is_empty() || !reset.is_empty() {
        session.ask(&Request::SetConfig { application, set, reset })?;
        return Ok(());
    }
    let all = session.ask(&Request::GetConfig { application })?;
    match show.as_slice() {
        [] => output.value(&all)?,
        [key] => {
            let setting = all["settings"]
                .get(key)
                .with_context(|| format!("key {key:?} not found in the application's options"))?;
            output.text(&plain(&setting["value"]))?;
        }
        _ => anyhow::bail!("can only show one option at a time"),
    }
    Ok(())
}

fn model_config(session: &Session, values: Vec<String>, output: &Output) -> anyhow::Result<()> {
    let (set, show): (Vec<String>, Vec<String>) = values.into_iter().partition(|v| v.contains('='));
    let settings = session.ask(&Request::ModelConfig { set: pairs(&set)? })?;
    match show.as_slice() {
        [] if !set.is_empty() => {}
        [] => output.value(&settings)?,
        keys => {
            for key in keys {
                let value = settings.get(key).with_context(|| format!("key {key:?} not found in the model"))?;
                output.text(&plain(value))?;
            }
        }
    }
    Ok(())
}
