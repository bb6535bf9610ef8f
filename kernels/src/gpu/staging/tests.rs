//! What arrives, how many buffers that takes, and what is waited for.

use super::super::testing::gpus;
use super::super::{Adapter, Array, GpuOptions, StreamUse, adapters};
use super::*;
use crate::DType;
use crate::dtype::WeightBytes;
use crate::elementwise::gpu::add_assign;

/// Bytes that differ from place to place, at every distance that is a power of two.
fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect()
}

fn weight(gpu: &Gpu, dtype: DType, bytes: &[u8]) -> Array {
    Array::weight(gpu, WeightBytes::new(dtype, bytes)).unwrap()
}

#[test]
fn bytes_arrive_through_rings_of_any_size() {
    for (name, gpu) in gpus() {
        // The weight is smaller than a buffer, larger than one, and larger than all.
        for (size, buffers) in [(256, 1), (4096, 3), (1 << 16, 2), (SIZE, BUFFERS)] {
            gpu.stage_in(size, buffers);
            for len in [2, 254, 256, 258, 4096, 65_538, 200_002] {
                let bytes = pattern(len);
                let arrived = weight(&gpu, DType::BF16, &bytes).read_bytes().unwrap();
                assert!(arrived == bytes, "{name}: {len} bytes through {buffers} buffers of {size}");
            }
            let used = gpu.staging_use();
            assert!((1..=buffers).contains(&used.buffers), "{name}: {used:?}");
            assert!(used.waits < used.submissions, "{name}: {used:?}");
        }
    }
}

#[test]
fn all_bytes_of_a_large_weight_go_through_the_ring() {
    for (name, gpu) in gpus() {
        gpu.stage_in(4096, 3);
        let bytes = pattern(10 * 4096 + 4);
        let large = weight(&gpu, DType::F32, &bytes);
        assert_eq!(gpu.staging_use().bytes, bytes.len() as u64, "{name}");
        // The last is sent with what is submitted next.
        assert_eq!(gpu.staging_use().submissions, 10, "{name}");
        assert!(large.read_bytes().unwrap() == bytes, "{name}");
        let used = gpu.staging_use();
        assert_eq!((used.submissions, used.buffers <= 3), (11, true), "{name}: {used:?}");
    }
}

#[test]
fn weights_share_a_buffer_and_a_submission() {
    for (name, gpu) in gpus() {
        let (large, small) = (pattern(MIN_OPENING), pattern(10));
        // No buffer is opened for a vector, but one that is open takes it.
        let first = weight(&gpu, DType::F16, &small);
        assert_eq!(gpu.staging_use(), StagingUse::default(), "{name}");
        let weights: Vec<Array> =
            (0..20).map(|i| weight(&gpu, DType::F16, if i % 2 == 0 { &large } else { &small })).collect();
        assert!(first.read_bytes().unwrap() == small, "{name}");
        for (i, weight) in weights.iter().enumerate() {
            let bytes = if i % 2 == 0 { &large } else { &small };
            assert!(weight.read_bytes().unwrap() == *bytes, "{name}: {i}");
        }
        // Vectors are rounded up to words.
        let bytes = 10 * (MIN_OPENING as u64 + 12);
        assert_eq!(gpu.staging_use(), StagingUse { bytes, submissions: 1, waits: 0, buffers: 1 }, "{name}");
    }
}

/// A command sees the weights that were uploaded before it was recorded, whatever was recorded before them.
#[test]
fn copies_run_before_the_commands_that_follow() {
    const LEN: usize = 40_000;
    for (name, gpu) in gpus() {
        gpu.stage_in(1 << 16, 2);
        let mut sum = Array::upload(&gpu, DType::F32, &[0.0; LEN]).unwrap();
        for i in 1..=6 {
            let values = [i as f32; LEN];
            let weight = weight(&gpu, DType::F32, bytemuck::cast_slice(&values));
            add_assign(&mut sum, &weight).unwrap();
            if i % 2 == 0 {
                gpu.submit().unwrap();
            }
        }
        assert!(sum.read().unwrap().iter().all(|sum| *sum == 21.0), "{name}");
    }
}

#[test]
fn threads_may_upload_side_by_side() {
    for (name, gpu) in gpus() {
        gpu.stage_in(4096, 2);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let gpu = &gpu;
                scope.spawn(move || {
                    let bytes = pattern(20_000 + 4 * thread);
                    for _ in 0..5 {
                        assert!(weight(gpu, DType::F32, &bytes).read_bytes().unwrap() == bytes, "{name}");
                    }
                });
            }
        });
        assert!(gpu.staging_use().buffers <= 2, "{name}");
    }
}

/// The weights of a block wait in staging memory while the block before computes, so it takes more buffers than there are otherwise.
#[test]
fn a_block_larger_than_the_ring_is_uploaded_without_a_wait() {
    const LEN: usize = 50_000;
    const BLOCKS: u64 = 5;
    for (name, gpu) in gpus() {
        gpu.stage_in(1 << 14, 2);
        let mut sum = Array::upload(&gpu, DType::F32, &[0.0; LEN]).unwrap();
        for block in 1..=BLOCKS {
            let values = [block as f32; LEN];
            let upload = || weight(&gpu, DType::F32, bytemuck::cast_slice(&values));
            let weight = gpu.stream_weights(upload).unwrap();
            add_assign(&mut sum, &weight).unwrap();
        }
        assert!(sum.read().unwrap().iter().all(|sum| *sum == 15.0), "{name}");
        assert_eq!(gpu.stream_use(), StreamUse { blocks: BLOCKS, overlapped: BLOCKS }, "{name}");
        assert_eq!(gpu.staging_use().waits, 0, "{name}");
    }
}

/// Takes buffers and sends them without a look at those that are free meanwhile, as if the GPU were busy.
fn send(gpu: &Gpu, ring: &mut StagingRing, count: usize) {
    for _ in 0..count {
        let buffer = ring.take(gpu).unwrap();
        buffer.unmap();
        ring.sent(buffer, gpu.queue().submit([]));
    }
}

#[test]
fn the_ring_grows_for_a_block_and_shrinks_again() {
    for (name, gpu) in gpus() {
        gpu.stage_in(4096, 2);
        let mut ring = gpu.ring();
        send(&gpu, &mut ring, 3);
        assert_eq!((ring.in_flight.len(), ring.used.waits, ring.used.buffers), (2, 1, 2), "{name}");
        ring.block_buffers = 5;
        ring.begin_block();
        send(&gpu, &mut ring, 3);
        assert_eq!((ring.in_flight.len(), ring.used.waits, ring.used.buffers), (5, 1, 5), "{name}");
        // Two buffers are those of an earlier block: a wait for them is none for the block before this one.
        let waits = gpu.waits();
        send(&gpu, &mut ring, 2);
        assert_eq!((ring.used.waits, gpu.waits() - waits), (3, 0), "{name}");
        send(&gpu, &mut ring, 1);
        assert_eq!((ring.used.waits, gpu.waits() - waits), (4, 1), "{name}");
        ring.end_block();
        gpu.poll();
        ring.collect(&gpu).unwrap();
        assert_eq!((ring.free.len(), ring.in_flight.len(), ring.used.buffers), (2, 0, 5), "{name}");
    }
}

#[test]
fn buffers_are_given_back() {
    for (name, gpu) in gpus() {
        gpu.stage_in(4096, 3);
        let bytes = pattern(20_000);
        let before = weight(&gpu, DType::F32, &bytes);
        gpu.trim().unwrap();
        let ring = gpu.ring();
        assert!(ring.free.is_empty() && ring.in_flight.is_empty() && ring.open.is_none(), "{name}");
        drop(ring);
        let after = weight(&gpu, DType::F32, &bytes);
        assert!(before.read_bytes().unwrap() == bytes && after.read_bytes().unwrap() == bytes, "{name}");
    }
}

#[test]
fn uploads_to_a_lost_gpu_are_errors() {
    let Some(adapter) = adapters().into_iter().max_by_key(Adapter::rank) else { return };
    let bytes = pattern(20_000);
    let wanted = WeightBytes::new(DType::F32, &bytes);
    // Without a buffer, with an open one, with some in flight, and with free ones.
    for before in 0..4 {
        let gpu = Gpu::open(&adapter, &GpuOptions::default()).unwrap();
        gpu.stage_in(if before == 1 { 1 << 16 } else { 4096 }, 2);
        let kept = (before > 0).then(|| weight(&gpu, DType::F32, &bytes));
        if before == 3 {
            gpu.wait().unwrap();
        }
        gpu.lose();
        let lost = |result: Result<(), GpuError>| matches!(result, Err(GpuError::Lost { .. }));
        assert!(lost(Array::weight(&gpu, wanted).map(drop)), "{before}");
        assert!(lost(gpu.wait()), "{before}");
        assert!(kept.is_none_or(|kept| lost(kept.read().map(drop))), "{before}");
    }
}

/// The GPU is lost after the check that no other call has lost it, so the ring finds it out.
#[test]
fn a_gpu_that_is_lost_meanwhile_is_an_error() {
    let Some(adapter) = adapters().into_iter().max_by_key(Adapter::rank) else { return };
    for size in [4096, 1 << 16] {
        let gpu = Gpu::open(&adapter, &GpuOptions::default()).unwrap();
        gpu.stage_in(size, 2);
        let bytes = pattern(40_000);
        let fill = |from: usize, to: StagingSlice<'_>| {
            if from == 0 {
                gpu.lose();
            }
            copy(&bytes[from..], to);
        };
        let result = Array::filled(&gpu, DType::F32, [10_000, 1], &fill);
        assert!(matches!(result, Err(GpuError::Lost { .. })), "{size}: {result:?}");
    }
}
