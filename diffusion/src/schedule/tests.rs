use super::*;
use proptest::prelude::*;

fn schedule(form: Form, kind: Kind, grid: Grid, steps: usize) -> Schedule {
    Schedule::new(&Training::scaled_linear(), form, kind, grid, steps).unwrap()
}

fn timesteps(schedule: &Schedule) -> Vec<f64> {
    schedule.levels().iter().map(|level| level.timestep).collect()
}

/// As many as there are time steps.
const MAX_STEPS: usize = 1000;

const GRIDS: [Grid; 3] = [Grid::Ddim, Grid::Euler, Grid::DpmSolver];
const FORMS: [Form; 2] = [Form::KDiffusion, Form::Diffusers];

#[test]
fn k_diffusion_runs_from_the_largest_sigma_to_the_smallest_and_then_zero() {
    let (min, max) = Training::scaled_linear().sigma_range();
    for kind in [Kind::Normal, Kind::Karras, Kind::Exponential] {
        let schedule = schedule(Form::KDiffusion, kind, Grid::Euler, 20);
        let levels = schedule.levels();
        assert!((levels[0].sigma - max).abs() < 1e-9 && (levels[19].sigma - min).abs() < 1e-9, "{kind:?}");
        assert!((levels[0].timestep - 999.0).abs() < 1e-9 && levels[19].timestep.abs() < 1e-9, "{kind:?}");
        assert_eq!(schedule.targets()[19], 0.0);
        assert_eq!(schedule.initial_scale(), levels[0].sigma);
    }
}

#[test]
fn diffusers_time_steps_of_eight_steps() {
    let leading = [876., 751., 626., 501., 376., 251., 126., 1.];
    let trailing = [999., 874., 749., 624., 499., 374., 249., 124.];
    for (grid, kind, want) in [
        (Grid::Ddim, Kind::Leading, leading),
        (Grid::Ddim, Kind::Normal, leading),
        (Grid::Ddim, Kind::Linspace, [999., 856., 714., 571., 428., 285., 143., 0.]),
        (Grid::Ddim, Kind::Trailing, trailing),
        (Grid::Euler, Kind::Leading, leading),
        (Grid::Euler, Kind::Trailing, trailing),
        (Grid::DpmSolver, Kind::Leading, [889., 778., 667., 556., 445., 334., 223., 112.]),
        (Grid::DpmSolver, Kind::Linspace, [999., 874., 749., 624., 500., 375., 250., 125.]),
        (Grid::DpmSolver, Kind::Trailing, trailing),
        (Grid::DpmSolver, Kind::Karras, [999., 890., 746., 549., 299., 90., 12., 0.]),
        (Grid::DpmSolver, Kind::Exponential, [998., 834., 621., 359., 133., 30., 4., 0.]),
    ] {
        assert_eq!(timesteps(&schedule(Form::Diffusers, kind, grid, 8)), want, "{grid:?} {kind:?}");
    }
    let fractions = timesteps(&schedule(Form::Diffusers, Kind::Linspace, Grid::Euler, 8));
    assert!((fractions[1] - 856.285_714).abs() < 1e-6);
}

#[test]
fn diffusers_start_scales() {
    let hypot = |s: &Schedule| s.levels()[0].sigma.hypot(1.0);
    for (grid, kind, plain) in [
        (Grid::Ddim, Kind::Trailing, false),
        (Grid::DpmSolver, Kind::Karras, false),
        (Grid::Euler, Kind::Leading, false),
        (Grid::Euler, Kind::Linspace, true),
        (Grid::Euler, Kind::Karras, true),
    ] {
        let schedule = schedule(Form::Diffusers, kind, grid, 8);
        let want = if plain { schedule.levels()[0].sigma } else { hypot(&schedule) };
        assert_eq!(schedule.initial_scale(), want, "{grid:?} {kind:?}");
    }
}

#[test]
fn ddim_steps_end_a_fixed_stride_below_and_never_below_time_step_zero() {
    let training = Training::scaled_linear();
    let linspace = schedule(Form::Diffusers, Kind::Linspace, Grid::Ddim, 8);
    assert_eq!(linspace.targets()[0], training.sigmas()[999 - 125]);
    assert_ne!(linspace.targets()[0], linspace.levels()[1].sigma);
    let leading = schedule(Form::Diffusers, Kind::Leading, Grid::Ddim, 8);
    assert_eq!(leading.targets()[0], leading.levels()[1].sigma);
    for schedule in [linspace, leading] {
        assert_eq!(schedule.targets()[7], training.sigma_range().0);
    }
}

#[test]
fn numbers_of_steps_out_of_range_are_refused() {
    let training = Training::scaled_linear();
    for form in FORMS {
        for steps in [0, MAX_STEPS + 1, usize::MAX] {
            let got = Schedule::new(&training, form, Kind::Normal, Grid::Euler, steps);
            assert_eq!(got, Err(ScheduleError::Steps { steps, max: MAX_STEPS }));
        }
    }
    for (grid, max) in [(Grid::Ddim, 999), (Grid::Euler, 999), (Grid::DpmSolver, 998)] {
        let got = |steps| Schedule::new(&training, Form::Diffusers, Kind::Leading, grid, steps);
        assert_eq!(got(1000), Err(ScheduleError::Steps { steps: 1000, max }));
        assert!(got(max + 1).is_err() && got(max).is_ok(), "{grid:?}");
    }
}

#[test]
fn kinds_that_do_not_exist_are_refused_with_those_that_do() {
    let training = Training::scaled_linear();
    let error = Schedule::new(&training, Form::KDiffusion, Kind::Trailing, Grid::Euler, 9).unwrap_err();
    assert_eq!(
        error.to_string(),
        "this sampler has no \"trailing\" schedule in its webui form; choose one of: normal, karras, exponential"
    );
    let error = Schedule::new(&training, Form::Diffusers, Kind::Karras, Grid::Ddim, 9).unwrap_err();
    assert!(error.to_string().contains("leading, linspace, trailing"), "{error}");
}

#[test]
fn strength_leaves_out_the_first_steps() {
    assert_eq!(Form::Diffusers.skipped_steps(10, 0.6), 4);
    assert_eq!(Form::Diffusers.skipped_steps(8, 0.6), 4);
    assert_eq!(Form::Diffusers.skipped_steps(5, 1.0), 0);
    assert_eq!(Form::Diffusers.skipped_steps(5, 0.1), 5);
    assert_eq!(Form::KDiffusion.skipped_steps(20, 0.75), 4);
    assert_eq!(Form::KDiffusion.skipped_steps(20, 1.0), 0);
    assert_eq!(Form::KDiffusion.skipped_steps(20, 0.0), 19);

    let whole = schedule(Form::Diffusers, Kind::Leading, Grid::Euler, 8);
    let rest = whole.clone().after(3).unwrap();
    assert_eq!((rest.levels(), rest.targets()), (&whole.levels()[3..], &whole.targets()[3..]));
    assert_eq!(whole.after(8), Err(ScheduleError::NothingLeft { steps: 8 }));
    let sigma = rest.levels()[0].sigma;
    assert_eq!(rest.add_noise(&[1.0], &[2.0]), [(1.0 + 2.0 * sigma) as f32]);
}

#[test]
fn kinds_by_name() {
    for kind in Kind::ALL {
        assert_eq!(Kind::parse(kind.name()), Ok(*kind));
    }
    assert_eq!(Kind::parse("Karras"), Ok(Kind::Karras));
    assert_eq!(Kind::parse("karass").unwrap_err().nearest, Some("karras"));
}

proptest! {
    #[test]
    fn levels_fall_and_stay_in_the_table(
        steps in 1..=MAX_STEPS, form in 0..FORMS.len(), grid in 0..GRIDS.len(), kind in 0..Kind::ALL.len()
    ) {
        let training = Training::scaled_linear();
        let made = Schedule::new(&training, FORMS[form], Kind::ALL[kind], GRIDS[grid], steps);
        if let Ok(schedule) = made {
            let (min, max) = training.sigma_range();
            prop_assert_eq!(schedule.steps(), steps);
            for level in schedule.levels() {
                prop_assert!(level.sigma >= min * 0.999_999 && level.sigma <= max * 1.000_001);
                prop_assert!((0.0..=999.0).contains(&level.timestep));
            }
            for pair in schedule.levels().windows(2) {
                prop_assert!(pair[1].sigma <= pair[0].sigma && pair[1].timestep <= pair[0].timestep);
            }
            for (level, target) in schedule.levels().iter().zip(schedule.targets()) {
                prop_assert!(*target <= level.sigma);
            }
            prop_assert!(schedule.initial_scale() >= schedule.levels()[0].sigma);
        }
    }
}
