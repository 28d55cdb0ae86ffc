//! stub
pub(crate) fn check_settings(_set: &std::collections::BTreeMap<String, String>) -> anyhow::Result<()> {
    Ok(())
}
