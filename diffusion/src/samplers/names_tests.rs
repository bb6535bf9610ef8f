use super::*;

#[test]
fn samplers_by_name() {
    let found = |name: &str| parse(name).map(|(sampler, kind)| (sampler.name(), kind));
    for sampler in ALL {
        assert_eq!(found(sampler.name()), Ok((sampler.name(), None)));
        assert_eq!(found(sampler.label()), Ok((sampler.name(), None)));
    }
    for name in ["dpm++2m", "dpm++_2m", "DPM++ 2M", "dpmpp_2m"] {
        assert_eq!(found(name), Ok(("dpm++2m", None)), "{name}");
    }
    for name in ["DPM++ 2M Karras", "dpmpp_2m_karras", "dpm++2m karras"] {
        assert_eq!(found(name), Ok(("dpm++2m", Some(ScheduleKind::Karras))), "{name}");
    }
    for name in ["euler_a", "Euler a", "euler_ancestral", "EULER-A"] {
        assert_eq!(found(name), Ok(("euler_a", None)), "{name}");
    }
    for (name, sampler, kind) in [
        ("Euler Exponential", "euler", ScheduleKind::Exponential),
        ("Euler Polyexponential", "euler", ScheduleKind::Polyexponential),
        ("DPM++ 2M SDE Karras", "dpm++2m_sde", ScheduleKind::Karras),
        ("DPM++ SDE Karras", "dpm++_sde", ScheduleKind::Karras),
        ("DPM++ 2S a Karras", "dpm++2s_a", ScheduleKind::Karras),
        ("DPM2 a Karras", "dpm2_a", ScheduleKind::Karras),
        ("Euler a SGM Uniform", "euler_a", ScheduleKind::SgmUniform),
        ("euler_a_sgm_uniform", "euler_a", ScheduleKind::SgmUniform),
        ("dpmpp_2m align_your_steps", "dpm++2m", ScheduleKind::AlignYourSteps),
        ("UniPC AYS", "unipc", ScheduleKind::AlignYourSteps),
        ("Euler DDIM uniform", "euler", ScheduleKind::Ddim),
        ("Restart Karras", "restart", ScheduleKind::Karras),
        ("DPM fast Exponential", "dpm_fast", ScheduleKind::Exponential),
        ("Restart of tomorrow", "", ScheduleKind::Normal),
    ] {
        match found(name) {
            Ok(found) => assert_eq!(found, (sampler, Some(kind)), "{name}"),
            Err(unknown) => assert_eq!((unknown.given.as_str(), sampler), (name, "")),
        }
    }
    for (name, sampler) in [
        ("DPM++ 2M SDE", "dpm++2m_sde"),
        ("dpmpp_2m_sde_gpu", ""),
        ("dpm_2_ancestral", "dpm2_a"),
        ("dpmpp_2s_ancestral", "dpm++2s_a"),
        ("dpm++2s_a", "dpm++2s_a"),
        ("DPM++ SDE", "dpm++_sde"),
        ("uni_pc", "unipc"),
        ("PNDM", "plms"),
        ("DPM adaptive", "dpm_adaptive"),
        ("euler_cfg_pp", "euler_cfg++"),
        ("euler_ancestral_cfg_pp", "euler_a_cfg++"),
        ("heunpp2", "heun++2"),
        ("DDIM", "ddim"),
    ] {
        assert_eq!(found(name).map_or("", |found| found.0), sampler, "{name}");
    }
}

#[test]
fn unknown_samplers_suggest_the_nearest() {
    for (name, nearest) in [
        ("eular", Some("euler")),
        ("dddim", Some("ddim")),
        ("DPM++ 2M SDF", Some("dpm++2m_sde")),
        ("DPM++ 2N Karras", Some("dpm++2m")),
        ("karras", None),
        ("", None),
    ] {
        let error = parse(name).map(|(sampler, _)| sampler.name()).unwrap_err();
        assert_eq!((error.given.as_str(), error.nearest), (name, nearest));
    }
}
