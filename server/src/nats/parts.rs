//! The parts of a job that machines draw beside each other: one image each.

use crate::work::Work;

/// The parts of a job, in the order of their images. Each image has a seed of its own, so that it is the same alone.
pub(super) fn split(work: Work) -> Vec<Work> {
    let Work::Draw { job } = &work else { return vec![work] };
    // The seed was chosen when the job was accepted; without one the parts would not belong together.
    if job.batch.count() < 2 || job.sampling.seed.is_none() {
        return vec![work];
    }
    let (seeds, variations) = (job.seeds(), job.variation_seeds());
    let part = |(index, seed): (usize, &u64)| {
        let mut job = job.clone();
        job.sampling.seed = Some(*seed);
        if let Some(variation) = variations.get(index) {
            job.sampling.variation_seed = Some(*variation);
        }
        job.batch = Default::default();
        Work::Draw { job }
    };
    seeds.iter().enumerate().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use latent_app::Job;

    #[test]
    fn each_part_has_the_seed_of_its_image() {
        let mut job = Job::txt2img("a sun");
        job.sampling.seed = Some(u64::MAX);
        job.set("batch-count", &["3"]).unwrap();
        job.set("batch-size", &["2"]).unwrap();
        let seeds = |job: &Job| -> Vec<(Vec<u64>, Vec<u64>)> {
            let parts = split(Work::Draw { job: Box::new(job.clone()) });
            let of = |part: &Work| match part {
                Work::Draw { job } => (job.seeds(), job.variation_seeds()),
                _ => panic!(),
            };
            parts.iter().map(of).collect()
        };
        assert_eq!(seeds(&job), [(vec![u64::MAX], vec![]), (vec![0], vec![]), (vec![1], vec![])]);
        job.sampling.variation_seed = Some(4);
        job.sampling.variation_strength = Some(0.5);
        let varied = [4, 5, 6].map(|variation| (vec![u64::MAX], vec![variation]));
        assert_eq!(seeds(&job), varied);
        job.sampling.seed = None;
        assert_eq!(split(Work::Draw { job: Box::new(job) }).len(), 1);
    }
}
