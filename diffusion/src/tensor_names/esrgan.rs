//! Upscalers: names in their files to those of Real-ESRGAN and of the architectures' own programs.
//!
//! Three layouts are in use: the first ESRGAN numbers the layers of a `Sequential` (`model.1.sub.0.RDB1.conv1.0.weight`), its
//! later form has words (`RRDB_trunk.0.RDB1.conv1.weight`), and Real-ESRGAN has other words
//! (`body.0.rdb1.conv1.weight`). Trainers put a prefix before them.

use std::collections::BTreeMap;

/// What trainers put before the names.
const PREFIXES: [&str; 7] =
    ["params_ema.", "params-ema.", "params.", "state_dict.", "net_g.", "module.", "generator."];

/// Words of the later ESRGAN.
const WORDS: [(&str, &str); 4] =
    [("trunk_conv", "conv_body"), ("upconv1", "conv_up1"), ("upconv2", "conv_up2"), ("HRconv", "conv_hr")];

/// A name without a trainer's prefixes.
pub(super) fn plain(name: &str) -> &str {
    match PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)) {
        Some(rest) => plain(rest),
        None => name,
    }
}

/// Names in a file by canonical names.
pub(crate) fn canonical(names: &[&str]) -> BTreeMap<String, String> {
    // Layers after the trunk; upsamplings and activations between them are numbered too.
    let mut after: Vec<usize> = names.iter().filter_map(|name| after_trunk(plain(name))).collect();
    after.sort_unstable();
    after.dedup();
    names.iter().filter_map(|name| Some((layer(plain(name), &after)?, (*name).to_owned()))).collect()
}

/// The number of a layer after the trunk in the first layout.
fn after_trunk(name: &str) -> Option<usize> {
    let number = name.strip_prefix("model.")?.strip_suffix(".weight")?;
    number.parse().ok().filter(|number| *number > 1)
}

/// The canonical name of a tensor. `after`: the numbers of [`after_trunk`] in a file of the first layout.
fn layer(name: &str, after: &[usize]) -> Option<String> {
    let Some((path, end)) = name.rsplit_once('.') else { return Some(name.to_owned()) };
    if let Some(numbered) = path.strip_prefix("model.") {
        let path = match numbered.strip_prefix("1.sub.") {
            Some(block) => match block.split_once('.') {
                None => "conv_body".to_owned(),
                Some(_) => dense(block.strip_suffix(".0")?)?,
            },
            None => match numbered.parse().ok()? {
                0 => "conv_first".to_owned(),
                number => {
                    let place = after.iter().position(|other| *other == number)?;
                    match after.len() - place {
                        1 => "conv_last".to_owned(),
                        2 => "conv_hr".to_owned(),
                        _ => format!("conv_up{}", place + 1),
                    }
                }
            },
        };
        return Some(format!("{path}.{end}"));
    }
    if let Some(block) = path.strip_prefix("RRDB_trunk.") {
        return Some(format!("{}.{end}", dense(block)?));
    }
    let known = WORDS.iter().find(|(word, _)| *word == path).map(|(_, canonical)| *canonical);
    Some(format!("{}.{end}", known.unwrap_or(path)))
}

/// A convolution of a dense block, from `0.RDB1.conv1`.
fn dense(block: &str) -> Option<String> {
    let (index, rest) = block.split_once('.')?;
    let number = index.parse::<usize>().ok()?;
    Some(format!("body.{number}.rdb{}", rest.strip_prefix("RDB")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_has_one_name() {
        for (name, after, canonical) in [
            ("model.0.weight", &[3, 6, 8, 10][..], Some("conv_first.weight")),
            ("model.1.sub.22.RDB3.conv5.0.bias", &[], Some("body.22.rdb3.conv5.bias")),
            ("model.1.sub.23.weight", &[], Some("conv_body.weight")),
            ("model.3.weight", &[3, 6, 8, 10], Some("conv_up1.weight")),
            ("model.6.bias", &[3, 6, 8, 10], Some("conv_up2.bias")),
            ("model.8.weight", &[3, 6, 8, 10], Some("conv_hr.weight")),
            ("model.10.weight", &[3, 6, 8, 10], Some("conv_last.weight")),
            ("model.5.weight", &[3, 5, 7], Some("conv_hr.weight")),
            ("model.2.weight", &[2, 4], Some("conv_hr.weight")),
            ("model.9.weight", &[3, 6, 9, 11, 13], Some("conv_up3.weight")),
            ("RRDB_trunk.4.RDB2.conv1.weight", &[], Some("body.4.rdb2.conv1.weight")),
            ("trunk_conv.bias", &[], Some("conv_body.bias")),
            ("HRconv.weight", &[], Some("conv_hr.weight")),
            ("body.0.rdb1.conv1.weight", &[], Some("body.0.rdb1.conv1.weight")),
            ("conv_last.bias", &[], Some("conv_last.bias")),
            ("model.4.weight", &[3, 5, 7], None),
            ("model.1.sub.x.RDB1.conv1.0.weight", &[], None),
            ("model.1.sub.0.RDB1.conv1x1.weight", &[], None),
            ("no_norm", &[], Some("no_norm")),
        ] {
            assert_eq!(layer(name, after).as_deref(), canonical, "{name}");
        }
        assert_eq!(plain("params_ema.conv_first.weight"), "conv_first.weight");
        assert_eq!(plain("params.module.body.0.weight"), "body.0.weight");
    }
}
