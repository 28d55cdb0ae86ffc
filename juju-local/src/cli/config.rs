//! Options of applications, and the model's own settings.

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::json;

use super::Session;
use super::args::{Format, Output, option_file, option_words, pairs, plain};
use super::show::{row, table, text};
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
        /// Settings that get their defaults back
        #[arg(long, value_delimiter = ',')]
        reset: Vec<String>,
        #[command(flatten)]
        output: Output,
    },
}

pub(super) fn run(session: &Session, command: Config) -> anyhow::Result<()> {
    match command {
        Config::Application { application, values, reset, file, output } => {
            config(session, application, &values, reset, file.as_deref(), &output)
        }
        Config::Model { values, reset, output } => model_config(session, values, reset, &output),
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
    let mut set = option_words(&set)?;
    if let Some(file) = file {
        if !set.is_empty() {
            anyhow::bail!("cannot specify --file and key=value arguments simultaneously");
        }
        set.extend(option_file(file, Some(&application))?);
    }
    if let Some(both) = reset.iter().find(|key| set.contains_key(*key)) {
        anyhow::bail!("cannot set and reset key {both:?} simultaneously");
    }
    if !set.is_empty() || !reset.is_empty() || file.is_some() {
        if !show.is_empty() {
            anyhow::bail!("cannot set and show options in one command");
        }
        session.ask(&Request::SetConfig { application, set, reset })?;
        return Ok(());
    }
    let all = session.ask(&Request::GetConfig { application: application.clone() })?;
    match show.as_slice() {
        [] => output.value(&all)?,
        [key] => {
            let setting =
                all["settings"].get(key).or_else(|| all["application-config"].get(key)).with_context(|| {
                    format!("key {key:?} not found in {application:?} application config or charm settings.")
                })?;
            output.text(&plain(&setting["value"]))?;
        }
        _ => anyhow::bail!("can only retrieve a single value, or all values"),
    }
    Ok(())
}

fn model_config(session: &Session, values: Vec<String>, reset: Vec<String>, output: &Output) -> anyhow::Result<()> {
    let (set, show): (Vec<String>, Vec<String>) = values.into_iter().partition(|v| v.contains('='));
    let changes = !set.is_empty() || !reset.is_empty();
    if changes && !show.is_empty() {
        anyhow::bail!("cannot set and show settings in one command");
    }
    let settings = session.ask(&Request::ModelConfig { set: pairs(&set)?, reset })?;
    match show.as_slice() {
        [] if changes => Ok(()),
        [] => output.write(&settings, || {
            let mut rows = vec![row(["Attribute", "From", "Value"])];
            for (key, body) in settings.as_object().into_iter().flatten() {
                rows.push(vec![key.clone(), text(body, &["Source"]), text(body, &["Value"])]);
            }
            table(&rows)
        }),
        [key] => {
            let setting = settings.get(key);
            let setting = setting.with_context(|| {
                format!("key {key:?} not found in {:?} model; see juju-local model-config", session.model)
            })?;
            match output.given_format() {
                None | Some(Format::Plain) => output.text(&plain(&setting["Value"])),
                Some(Format::Yaml | Format::Json) => output.value(&json!({key: setting})),
            }
        }
        _ => anyhow::bail!("can only retrieve a single value, or all values"),
    }
}
