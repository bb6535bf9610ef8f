//! What each switch saves on this machine, as a table.

use latent_app::bench::{AdviceRow, IMAGE_STEPS, Likeness, SpeedAdvice, SpeedSwitches};
use latent_kernels::Isa;
use std::fmt::Write as _;

pub(super) fn text(advice: &SpeedAdvice) -> String {
    let mut out = String::new();
    let mut line = |text: &str| {
        let _ = writeln!(out, "{}", text.trim_end());
    };
    let (options, threads) = (&advice.options, advice.threads);
    let (label, side) = (options.family.label, options.side);
    line(&format!("{label}, {side}x{side}, {IMAGE_STEPS} steps, {threads} threads, {}", Isa::best()));
    line("computed from the times of the parts; reading the model is not in it");
    line("");
    line(&columns("switch", "an image", "speed", "what it costs"));
    for row in &advice.rows {
        let (seconds, speed) = (format!("{:.1} s", row.seconds), format!("{:.2} x", advice.speed(row)));
        line(&columns(&flags(&row.switches), &seconds, &speed, &cost(&row.switches)));
    }
    line("");
    line(
        "dB: likeness (PSNR) to the image without the switch, of 20 images of the demo model: over 40 dB is hard to",
    );
    line("see, 25 dB is the same image with other details. Other models differ; docs/speed.md says more.");
    line(&recommendation(advice));
    out
}

/// The fastest row of the same model that is not far off, in words.
fn recommendation(advice: &SpeedAdvice) -> String {
    let is_other_file = |row: &&AdviceRow| row.switches.taesd || row.switches.few_steps;
    let own = advice.rows.iter().filter(|row| !is_other_file(row));
    let fastest = own.min_by(|a, b| a.seconds.total_cmp(&b.seconds));
    fastest.map_or_else(String::new, |row| {
        format!("The fastest with the same model and no other file: {}", flags(&row.switches))
    })
}

/// The flags of the program.
fn flags(switches: &SpeedSwitches) -> String {
    let &SpeedSwitches { cache, cfg_end, tome, taesd, few_steps, low_memory, int8 } = switches;
    let mut flags = Vec::new();
    if few_steps {
        flags.push("a model for 4 steps".to_owned());
    }
    if cache > 1 {
        flags.push(format!("--cache {cache}"));
    }
    if cfg_end < 1.0 {
        flags.push(format!("--cfg-end {cfg_end}"));
    }
    if int8 {
        flags.push("--precision int8".to_owned());
    }
    if tome > 0.0 {
        flags.push(format!("--tome {tome}"));
    }
    if taesd {
        flags.push("--taesd FILE".to_owned());
    }
    if low_memory {
        flags.push("--low-memory".to_owned());
    }
    if flags.is_empty() { "none".to_owned() } else { flags.join(" ") }
}

/// What a person gives up.
fn cost(switches: &SpeedSwitches) -> String {
    let mut costs = Vec::new();
    match switches.likeness() {
        Some(Likeness { median, .. }) if median.is_infinite() && switches.low_memory => {
            costs.push("the same image; saves memory, not time".to_owned());
        }
        Some(Likeness { median, .. }) if median.is_infinite() => costs.push("nothing".to_owned()),
        Some(Likeness { median, worst, .. }) => {
            costs.push(format!("{median:.0} dB, at worst {worst:.0} dB"));
        }
        None if switches.few_steps => {
            costs.push("another model (turbo, lightning, lcm, hyper), no negative prompt".to_owned());
        }
        None => {}
    }
    if switches.taesd {
        costs.push("fine detail is smoother".to_owned());
        if switches.cache > 1 {
            costs.push("and what the others cost".to_owned());
        }
    }
    costs.join("; ")
}

fn columns(switch: &str, seconds: &str, speed: &str, cost: &str) -> String {
    format!("{switch:<38}{seconds:>10}{speed:>9}  {cost}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use latent_app::bench::{BenchOptions, PartSeconds};
    use latent_diffusion::families::published;

    #[test]
    fn each_switch_has_a_line_with_what_it_saves_and_costs() {
        let parts = PartSeconds {
            text: 0.1,
            step: 10.0,
            unguided: 5.0,
            shallow: 4.0,
            merged: [8.0, 7.0],
            int8: 6.0,
            decode: 9.0,
            decode_in_bands: 12.0,
            taesd: 2.0,
        };
        let row = |(at, switches)| AdviceRow { switches, seconds: 210.0 / (at + 1) as f64 };
        let rows = SpeedSwitches::all().into_iter().enumerate().map(row).collect();
        let options = BenchOptions::new(published().next().unwrap());
        let text = text(&SpeedAdvice { options, threads: 2, parts, rows });
        for words in [
            "none                                     210.0 s   1.00 x  nothing",
            "--cache 2                                105.0 s   2.00 x  ",
            "--cfg-end 0.6  ",
            "--tome 0.5  ",
            "--precision int8  ",
            "--cache 2 --precision int8  ",
            "--taesd FILE  ",
            "--cache 2 --cfg-end 0.8  ",
            "--cache 3 --cfg-end 0.8 --taesd FILE  ",
            "a model for 4 steps --taesd FILE  ",
            "the same image; saves memory, not time",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(text.lines().all(|line| line == line.trim_end()), "{text}");
    }
}
