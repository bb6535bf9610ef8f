//! Each op computes what its kernel does, and names itself in the error for arguments that do not fit.

mod transformers;

use super::*;
use crate::{DType, Padding, Precision, WeightBytes, Window};

fn tensor(dims: &[usize], values: &[f32]) -> Tensor {
    Tensor::from_f32(dims, values).unwrap()
}

fn zeros(dims: &[usize]) -> Tensor {
    Tensor::zeros(dims).unwrap()
}

fn weight(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

#[track_caller]
fn shows(result: Result<Tensor, TensorError>, dims: &[usize], values: &[f32]) {
    let result = result.unwrap();
    assert_eq!(result.dims(), dims);
    for (got, expected) in result.f32s().unwrap().iter().zip(values) {
        assert!((got - expected).abs() < 1e-5, "{:?} is not {values:?}", result.f32s().unwrap());
    }
}

#[track_caller]
fn refuses<T>(result: Result<T, TensorError>, message: &str) {
    assert_eq!(result.err().map(|error| error.to_string()).as_deref(), Some(message));
}

#[test]
fn elementwise_ops() {
    let a = tensor(&[1, 1, 2, 2], &[1., 2., 3., 4.]);
    let b = tensor(&[1, 1, 2, 1], &[9., 8.]);
    shows(add(a.clone(), &a), &[1, 1, 2, 2], &[2., 4., 6., 8.]);
    refuses(add(a.clone(), &b), "add: expected [1, 1, 2, 2], got [1, 1, 2, 1]");
    shows(scale(a.clone(), 0.5), &[1, 1, 2, 2], &[0.5, 1., 1.5, 2.]);
    shows(add_per_channel(a.clone(), &tensor(&[1, 2], &[10., 20.])), &[1, 1, 2, 2], &[11., 22., 13., 24.]);
    refuses(
        add_per_channel(a.clone(), &zeros(&[2, 2])),
        "add_per_channel: expected a vector [1, 2], got [2, 2]",
    );
    shows(concat_channels(&a, &b), &[1, 1, 2, 3], &[1., 2., 9., 3., 4., 8.]);
    refuses(
        concat_channels(&a, &zeros(&[1, 2, 1, 1])),
        "concat_channels: expected channels beside [1, 1, 2, 2], got [1, 2, 1, 1]",
    );
    shows(guidance(&tensor(&[2, 2], &[1., 2., 3., 1.]), 2.0), &[1, 2], &[5., 0.]);
    refuses(guidance(&zeros(&[3, 2]), 2.0), "guidance: expected a batch of two halves, got [3, 2]");
}

#[test]
fn activations() {
    shows(silu(tensor(&[2], &[0., 1.])), &[2], &[0., 0.731_058_6]);
    shows(gelu(tensor(&[2], &[-1., 1.])), &[2], &[-0.158_655_26, 0.841_344_7]);
    shows(quick_gelu(tensor(&[1], &[1.])), &[1], &[0.845_795_8]);
    shows(geglu(&tensor(&[1, 4], &[2., 3., 1., 0.])), &[1, 2], &[1.682_689_5, 0.]);
    refuses(geglu(&zeros(&[2, 3])), "geglu: expected an even number of channels, got [2, 3]");
}

#[test]
fn what_upscalers_compute_with() {
    let layer = Prelu::new(vec![0.5, -2.0]).unwrap();
    shows(prelu(tensor(&[2, 2], &[1., 3., -1., -3.]), &layer), &[2, 2], &[1., 3., -0.5, 6.]);
    refuses(prelu(zeros(&[2, 3]), &layer), "prelu: expected 2 channels, got [2, 3]");
    refuses(Prelu::new(vec![]).map(|_| zeros(&[1])), "prelu: expected slopes, got none");
    let x = tensor(&[2], &[0., 1.]);
    shows(parameter_free_attention(x.clone(), &tensor(&[2], &[5., 3.])), &[2], &[0., 0.924_234_3]);
    refuses(parameter_free_attention(x, &zeros(&[3])), "parameter_free_attention: expected [2], got [3]");
}

#[test]
fn norms_and_softmax() {
    let norm = GroupNorm::new(vec![1., 2.], vec![0., 1.], 2, 0.0).unwrap();
    let x = tensor(&[1, 1, 2, 2], &[1., 10., 3., 30.]);
    shows(group_norm(&x, &norm), &[1, 1, 2, 2], &[-1., -1., 1., 3.]);
    shows(group_norm_silu(&x, &norm), &[1, 1, 2, 2], &[-0.268_941_4, -0.268_941_4, 0.731_058_6, 2.857_722]);
    refuses(
        group_norm(&zeros(&[1, 2, 2, 3]), &norm),
        "group_norm: expected pixels of 2 channels, got [1, 2, 2, 3]",
    );
    refuses(group_norm(&zeros(&[2, 2]), &norm), "group_norm: expected 4 dimensions, got [2, 2]");
    refuses(
        GroupNorm::new(vec![1.; 3], vec![0.; 3], 2, 0.0),
        "group_norm: expected channels in 2 groups, got 3",
    );
    refuses(GroupNorm::new(vec![1.; 4], vec![0.; 3], 2, 0.0), "group_norm: expected a bias of 4, got 3");
    let norm = LayerNorm::new(vec![1., 1.], vec![0., 5.], 0.0).unwrap();
    shows(layer_norm(&tensor(&[1, 2], &[1., 3.]), &norm), &[1, 2], &[-1., 6.]);
    refuses(layer_norm(&zeros(&[1, 3]), &norm), "layer_norm: expected 2 channels, got [1, 3]");
    refuses(LayerNorm::new(vec![1.], vec![], 0.0), "layer_norm: expected a bias of 1, got 0");
    shows(softmax(tensor(&[2, 2], &[0., 0., 0., 3f32.ln()])), &[2, 2], &[0.5, 0.5, 0.25, 0.75]);
    refuses(softmax(zeros(&[2, 0])), "softmax: expected rows of at least one value, got [2, 0]");
}

#[test]
fn linear_layers_and_tables() {
    let bytes = weight(&[1., 2., 3., 4.]);
    let layer = Linear::new(WeightBytes::new(DType::F32, &bytes), [2, 2], None).unwrap();
    let x = tensor(&[1, 2], &[1., 10.]);
    shows(linear(&x, &layer), &[1, 2], &[21., 43.]);
    shows(linear_add(&x, &layer, x.clone()), &[1, 2], &[22., 53.]);
    let own = tensor(&[1, 2], &[1., 10.]);
    let place = own.f32s().unwrap().as_ptr();
    let sum = linear_add(&x, &layer, own).unwrap();
    assert_eq!(sum.f32s().unwrap().as_ptr(), place);
    shows(Ok(sum), &[1, 2], &[22., 53.]);
    refuses(linear_add(&x, &layer, zeros(&[2, 2])), "linear: expected [1, 2], got [2, 2]");
    let short = Linear::new(WeightBytes::new(DType::F32, &bytes), [2, 3], None);
    refuses(short, "linear: expected a weight of 2 x 3 values, got 4");
    let bias = Linear::new(WeightBytes::new(DType::F32, &bytes), [2, 2], Some(vec![0.; 3]));
    refuses(bias, "linear: expected a bias of 2, got 3");
    // More rows than a band has; the result is at the address of the input.
    let bytes_of_one = weight(&[1., 2.]);
    let narrow = Linear::new(WeightBytes::new(DType::F32, &bytes_of_one), [1, 2], None).unwrap();
    let rows = 3 << 20;
    let values: Vec<f32> = (0..2 * rows).map(|i| (i % 251) as f32).collect();
    let large = tensor(&[rows, 2], &values);
    let (place, want) = (large.f32s().unwrap().as_ptr(), linear(&large, &narrow).unwrap());
    let shared = linear_in_place(large.clone(), &narrow).unwrap();
    let got = linear_in_place(large, &narrow).unwrap();
    assert_eq!((got.dims(), got.f32s().unwrap().as_ptr()), (&[rows, 1][..], place));
    assert!(got.f32s().unwrap() == want.f32s().unwrap() && shared.f32s().unwrap() == want.f32s().unwrap());
    shows(linear_in_place(x.clone(), &layer), &[1, 2], &[21., 43.]);
    let [a, b] = linear_many(&x, [&layer, &layer]).unwrap();
    shows(Ok(a), &[1, 2], &[21., 43.]);
    shows(Ok(b), &[1, 2], &[21., 43.]);
    refuses(linear_many(&zeros(&[3]), [&layer]), "linear: expected a last dimension of 2, got [3]");
    // 21 times the GELU of 43, which is 43.
    shows(linear_geglu(&x, &layer), &[1, 1], &[903.]);
    let odd = Linear::new(WeightBytes::new(DType::F32, &bytes[..8]), [1, 2], None).unwrap();
    refuses(linear_geglu(&x, &odd), "linear: expected an even number of outputs, got 1");
    refuses(
        Embedding::new(WeightBytes::new(DType::F32, &bytes), [3, 2]),
        "embedding: expected a table of 3 x 2 values, got 4",
    );
    let table = Embedding::new(WeightBytes::new(DType::F32, &bytes), [2, 2]).unwrap();
    shows(embedding(&table, &[1, 0, 1]), &[3, 2], &[3., 4., 1., 2., 3., 4.]);
    refuses(embedding(&table, &[2]), "embedding: expected an id below 2, got 2");
}

/// A quantized layer gives the results of the dequantized one, bit for bit.
#[test]
fn quantized_layers() {
    let values: Vec<f32> = (0..4 * 72 * 4).map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.03).collect();
    let bytes = latent_kernels::quant::quantize(DType::Q8_0, &values, 288).unwrap();
    let blocks = || WeightBytes::new(DType::Q8_0, &bytes);
    let wide = weight(&blocks().to_f32());
    let single = || WeightBytes::new(DType::F32, &wide);
    let bits = |x: Tensor| x.f32s().unwrap().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let x: Vec<f32> = (0..3 * 288).map(|i| (i % 23) as f32 * 0.1 - 1.0).collect();

    let layer = |weight| Linear::new(weight, [4, 288], Some(vec![0.5; 4])).unwrap();
    let rows = tensor(&[3, 288], &x);
    assert_eq!(layer(blocks()).bytes(), 4 * 9 * 34 + 16);
    let want = bits(linear(&rows, &layer(single())).unwrap());
    assert_eq!(bits(linear(&rows, &layer(blocks())).unwrap()), want);
    let [a, b] = linear_many(&rows, [&layer(blocks()), &layer(single())]).unwrap();
    assert_eq!((bits(a), bits(b)), (want.clone(), want));
    let [a, b] = [blocks(), single()].map(|weight| linear_geglu(&rows, &layer(weight)).unwrap());
    assert_eq!(bits(a), bits(b));

    let layer = |weight| Conv2d::new(weight, [4, 32, 3], 1, Padding::all(1), None).unwrap();
    let image = tensor(&[1, 3, 9, 32], &x);
    let [a, b] = [blocks(), single()].map(|weight| conv2d(&image, &layer(weight)).unwrap());
    assert_eq!(bits(a), bits(b));

    let [a, b] = [blocks(), single()].map(|weight| Embedding::new(weight, [36, 32]).unwrap());
    let ids = [35, 0, 7];
    assert_eq!(bits(embedding(&a, &ids).unwrap()), bits(embedding(&b, &ids).unwrap()));

    // Blocks that were cut out of the flattened weight: its rows begin within them.
    let layer = |weight| Linear::new(weight, [32, 36], None).unwrap();
    let rows = tensor(&[3, 36], &x[..108]);
    let [a, b] = [blocks(), single()].map(|weight| linear(&rows, &layer(weight)).unwrap());
    assert_eq!(bits(a), bits(b));
    let layer = |weight| Conv2d::new(weight, [32, 4, 3], 1, Padding::all(1), None).unwrap();
    let image = tensor(&[1, 3, 9, 4], &x[..108]);
    let [a, b] = [blocks(), single()].map(|weight| conv2d(&image, &layer(weight)).unwrap());
    assert_eq!(bits(a), bits(b));
    let [a, b] = [blocks(), single()].map(|weight| Embedding::new(weight, [48, 24]).unwrap());
    assert_eq!(bits(embedding(&a, &[47, 5]).unwrap()), bits(embedding(&b, &[47, 5]).unwrap()));
}

#[test]
fn convolution_and_upsampling() {
    let bytes = weight(&[1.; 9]);
    let weight = || WeightBytes::new(DType::F32, &bytes);
    let layer = Conv2d::new(weight(), [1, 1, 3], 1, Padding::all(0), Some(vec![0.5])).unwrap();
    let x = tensor(&[1, 3, 3, 1], &[1., 2., 3., 4., 5., 6., 7., 8., 9.]);
    shows(conv2d(&x, &layer), &[1, 1, 1, 1], &[45.5]);
    let (residual, vector) = (tensor(&[1, 1, 1, 1], &[4.]), tensor(&[1, 1], &[100.]));
    let both = Epilogue { residual: Some(residual.clone()), vector: Some(&vector) };
    shows(conv2d_fused(&x, &layer, Prologue::none(), both), &[1, 1, 1, 1], &[149.5]);
    let place = residual.f32s().unwrap().as_ptr();
    let sum = conv2d_fused(&x, &layer, Prologue::none(), Epilogue::residual(residual)).unwrap();
    assert_eq!(sum.f32s().unwrap().as_ptr(), place);
    shows(Ok(sum), &[1, 1, 1, 1], &[49.5]);
    let resize = Prologue::resize(Some([3, 6]));
    shows(conv2d_fused(&x, &layer, resize, Epilogue::none()), &[1, 1, 4, 1], &[39.5, 42.5, 48.5, 51.5]);
    refuses(
        conv2d(&zeros(&[1, 2, 3, 1]), &layer),
        "conv2d: expected an image as large as the kernel, got [1, 2, 3, 1]",
    );
    refuses(conv2d(&zeros(&[1, 3, 3, 2]), &layer), "conv2d: expected 1 channels, got [1, 3, 3, 2]");
    let residual = Epilogue::residual(x.clone());
    refuses(
        conv2d_fused(&x, &layer, Prologue::none(), residual),
        "conv2d: expected [1, 1, 1, 1], got [1, 3, 3, 1]",
    );
    let vector = Epilogue::vector(Some(&x));
    refuses(
        conv2d_fused(&x, &layer, Prologue::none(), vector),
        "conv2d: expected a vector [1, 1], got [1, 3, 3, 1]",
    );
    refuses(
        Conv2d::new(weight(), [1, 2, 3], 1, Padding::all(0), None),
        "conv2d: expected a weight of 1 x 2 x 3 x 3 values, got 9",
    );
    let x = tensor(&[1, 1, 2, 1], &[1., 2.]);
    shows(upsample_nearest(&x, 2, 4), &[1, 2, 4, 1], &[1., 1., 2., 2., 1., 1., 2., 2.]);
    refuses(upsample_nearest(&x, 0, 4), "upsample_nearest: expected images with pixels, got [1, 1, 2, 1]");
}

#[test]
fn attention_of_two_heads() {
    // One key: every query sees its value.
    let v = tensor(&[1, 1, 4], &[1., 2., 3., 4.]);
    let q = tensor(&[1, 2, 4], &[0.5; 8]);
    shows(attention(&q, &v, &v, 2, false), &[1, 2, 4], &[1., 2., 3., 4., 1., 2., 3., 4.]);
    refuses(attention(&q, &v, &v, 3, false), "attention: expected a width that 3 heads divide, got 4");
    refuses(attention(&q, &v, &v, 2, true), "attention: expected at least 2 keys for the causal mask, got 1");
    refuses(
        attention(&q, &v, &q, 2, false),
        "attention: expected keys and values [1, n, 4], got [1, 1, 4] and [1, 2, 4]",
    );
}

/// Values that differ.
fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919 % 1013) as f32 - 506.0) / 300.0).collect()
}

fn f16_weight(n: usize) -> Vec<u8> {
    values(n).iter().flat_map(|v| half::f16::from_f32(v / 8.0).to_le_bytes()).collect()
}

/// The shapes of a narrow model, where rows do not fill tiles.
#[test]
fn an_image_has_the_same_bytes_alone_and_in_a_batch() {
    const BATCH: usize = 3;
    for (height, width, channels) in [(16, 16, 64), (2, 2, 128), (5, 3, 64)] {
        let size = height * width * channels;
        let all = tensor(&[BATCH, height, width, channels], &values(BATCH * size));
        let pixels = |op: &dyn Fn(&Tensor, usize) -> Tensor| {
            let together = op(&all, 0).f32s().unwrap().to_vec();
            for (i, expected) in together.chunks_exact(together.len() / BATCH).enumerate() {
                let alone = tensor(&[1, height, width, channels], &all.f32s().unwrap()[i * size..][..size]);
                let got = op(&alone, i);
                assert!(got.f32s().unwrap() == expected, "image {i} of {height}x{width}x{channels}");
            }
        };
        let bytes = f16_weight(2 * channels * channels * 9);
        let norm = GroupNorm::new(vec![1.1; channels], vec![0.1; channels], 32, 1e-5).unwrap();
        pixels(&|x, _| group_norm(x, &norm).unwrap());
        pixels(&|x, _| group_norm_silu(x, &norm).unwrap());
        let norm = LayerNorm::new(vec![1.1; channels], vec![0.1; channels], 1e-5).unwrap();
        pixels(&|x, _| layer_norm(x, &norm).unwrap());
        for stride in [1, 2] {
            let weight = WeightBytes::new(DType::F16, &bytes[..2 * channels * channels * 9]);
            let layer = Conv2d::new(
                weight,
                [channels, channels, 3],
                stride,
                Padding::all(1),
                Some(vec![0.1; channels]),
            );
            let layer = layer.unwrap();
            pixels(&|x, _| conv2d(x, &layer).unwrap());
        }
        let weight = WeightBytes::new(DType::F16, &bytes[..2 * 2 * channels * channels]);
        let layer = Linear::new(weight, [2 * channels, channels], None).unwrap();
        pixels(&|x, _| geglu(&linear(x, &layer).unwrap()).unwrap());
        pixels(&|x, _| silu(x.clone()).unwrap());
        pixels(&|x, _| upsample_nearest(x, 2 * height, 2 * width).unwrap());
        pixels(&|x, _| concat_channels(x, x).unwrap());
        pixels(&|x, _| {
            let n = x.dims()[0];
            let q = x.clone().reshape(&[n, height * width, channels]).unwrap();
            attention(&q, &q, &q, 8, false).unwrap()
        });
    }
}

#[test]
fn ops_on_bands_have_the_bytes_of_those_on_images() {
    [Precision::F32, Precision::Bf16].into_iter().for_each(check_bands);
}

/// A norm over rows that are added in parts, a convolution that is appended and one that is added, and a linear layer. The sums of the
/// convolution have several parts.
fn check_bands(precision: Precision) {
    const CHANNELS: usize = 96;
    let (height, width) = (22, 7);
    let bytes = f16_weight(CHANNELS * CHANNELS * 9);
    let conv = Conv2d::new(
        WeightBytes::new(DType::F16, &bytes),
        [CHANNELS, CHANNELS, 3],
        1,
        Padding::all(1),
        Some(vec![0.1; CHANNELS]),
    )
    .unwrap()
    .in_precision(precision);
    let matrix = WeightBytes::new(DType::F16, &bytes[..2 * CHANNELS * CHANNELS]);
    let layer = Linear::new(matrix, [CHANNELS, CHANNELS], Some(vec![0.2; CHANNELS])).unwrap();
    let layer = layer.in_precision(precision);
    let norm = GroupNorm::new(vec![1.1; CHANNELS], vec![0.1; CHANNELS], 32, 1e-5).unwrap();
    let x = tensor(&[1, height, width, CHANNELS], &values(height * width * CHANNELS));
    let whole = |resize: Option<[usize; 2]>| {
        let (h, w) = resize.map_or((height, width), |[h, w]| (h, w));
        let residual = match resize {
            Some([h, w]) => linear(&upsample_nearest(&x, h, w).unwrap(), &layer).unwrap(),
            None => linear(&x, &layer).unwrap(),
        };
        let prologue = Prologue { norm_silu: Some(&norm), resize };
        (conv2d_fused(&x, &conv, prologue, Epilogue::residual(residual)).unwrap(), [h, w, CHANNELS])
    };
    for resize in [None, Some([2 * height, 2 * width])] {
        let (whole, dims) = whole(resize);
        let source = Window::whole(x.clone()).unwrap();
        let mut sums = norm.sums(source.dims()).unwrap();
        [0..3, 3..16, 16..height].into_iter().for_each(|rows| sums.add_rows(&source, rows).unwrap());
        let known = sums.finish().unwrap();
        let prologue = Prologue { norm_silu: Some(&known), resize };
        let large = match resize {
            Some([h, w]) => Window::whole(upsample_nearest(&x, h, w).unwrap()).unwrap(),
            None => source.clone(),
        };
        let mut out = Window::new(dims, dims[0]).unwrap();
        let mut alone = Window::new(dims, 8).unwrap();
        for start in (0..dims[0]).step_by(8) {
            let end = dims[0].min(start + 8);
            let rows = start..end;
            linear_append(&large, &layer, end, &mut out).unwrap();
            conv2d_add(&source, &conv, prologue, rows, &mut out).unwrap();
            alone.forget_above(start);
            conv2d_append(&source, &conv, prologue, end, &mut alone).unwrap();
        }
        assert_eq!(out.into_tensor().unwrap().bytes(), whole.bytes(), "{precision:?} {resize:?}");
        let prologue = Prologue { norm_silu: Some(&norm), resize };
        let plain = conv2d_fused(&x, &conv, prologue, Epilogue::none()).unwrap();
        let plain = Window::whole(plain).unwrap();
        let rows = alone.rows();
        assert!(rows.start > 0 && alone.values(rows.clone()).unwrap() == plain.values(rows).unwrap());
    }
}

#[test]
fn bands_that_do_not_fit_are_refused() {
    let bytes = weight(&[1.; 9]);
    let layer =
        Conv2d::new(WeightBytes::new(DType::F32, &bytes), [1, 1, 3], 1, Padding::all(1), None).unwrap();
    let mut x = Window::new([12, 2, 1], 8).unwrap();
    x.append(&[1.; 16]).unwrap();
    refuses(x.append(&[1.; 2]), "window: expected at most 8 of 12 rows, got 0..9");
    refuses(x.append(&[1.; 3]), "window: expected rows of 2 values, got 3");
    let mut out = Window::new([12, 2, 1], 12).unwrap();
    let none = Prologue::none();
    refuses(conv2d_append(&x, &layer, none, 8, &mut out), "window: expected rows of 0..8, got 0..9");
    conv2d_append(&x, &layer, none, 4, &mut out).unwrap();
    assert_eq!(out.values(0..2).unwrap(), [4., 4., 6., 6.]);
    refuses(
        conv2d_append(&x, &layer, none, 6, &mut out),
        "conv2d: expected a band of 12 rows between multiples of 4, got 4..6",
    );
    refuses(conv2d_add(&x, &layer, none, 4..8, &mut out), "window: expected rows of 0..8, got 3..9");
    x.forget_above(4);
    refuses(conv2d_add(&x, &layer, none, 0..4, &mut out), "window: expected rows of 4..8, got 0..5");
    let mut other = Window::new([12, 3, 1], 12).unwrap();
    refuses(conv2d_append(&x, &layer, none, 4, &mut other), "conv2d: expected [12, 2, 1], got [12, 3, 1]");
    refuses(out.into_tensor(), "window: expected all 12 rows, got 0..4");
    refuses(Window::whole(zeros(&[2, 1, 1, 1])), "window: expected one image, got [2, 1, 1, 1]");
    let norm = GroupNorm::new(vec![1.], vec![0.], 1, 1e-5).unwrap();
    refuses(norm.sums([12, 2, 3]), "group_norm: expected pixels of 1 channels, got [1, 12, 2, 3]");
    let mut sums = norm.sums([5, 2, 1]).unwrap();
    sums.add_rows(&x, 4..8).unwrap();
    refuses(sums.add_rows(&x, 4..8), "group_norm: expected 2 values to come, got 8");
    refuses(sums.finish(), "group_norm: expected all rows, got all but 2 values");
    let layer = Linear::new(WeightBytes::new(DType::F32, &bytes[..8]), [2, 1], None).unwrap();
    refuses(
        linear_append(&x, &layer, 4, &mut other),
        "linear: expected pixels of 1 and 2 channels, got [12, 2, 1], [12, 3, 1]",
    );
}

#[test]
fn tokens_are_merged_and_return() {
    // Of a block of four, the second token is the most like the first.
    let x = tensor(&[1, 4, 2], &[2., 0., 4., 1., 0., 1., 0., 3.]);
    let merge = match_tokens(&x, [2, 2], 1).unwrap();
    assert_eq!(merge.kept(), 3);
    let short = merge_tokens(&x, &merge);
    shows(short.clone(), &[1, 3, 2], &[3., 0.5, 0., 1., 0., 3.]);
    let back = unmerge_add(&short.unwrap(), &merge, x.clone());
    shows(back, &[1, 4, 2], &[5., 0.5, 7., 1.5, 0., 2., 0., 6.]);
    refuses(match_tokens(&x, [2, 3], 1), "token_merging: expected images of 2x3 tokens, got [1, 4, 2]");
    refuses(
        merge_tokens(&zeros(&[1, 5, 2]), &merge),
        "token_merging: expected 1 images of 4 tokens, got [1, 5, 2]",
    );
    refuses(
        unmerge_add(&x, &merge, x.clone()),
        "token_merging: expected 1 images of 3 tokens, got [1, 4, 2]",
    );
    refuses(
        unmerge_add(&zeros(&[1, 3, 2]), &merge, zeros(&[1, 4, 3])),
        "token_merging: expected 2 channels, got [1, 4, 3]",
    );
}

#[test]
fn latents_that_do_not_fit_are_refused() {
    let (x, y) = (Tensor::zeros(&[2, 3]).unwrap(), Tensor::zeros(&[3, 2]).unwrap());
    let message = |result: Result<Tensor, TensorError>| result.unwrap_err().to_string();
    let shapes = "expected [2, 3], got [3, 2]";
    assert_eq!(message(linear_combination(&[(1.0, &x), (1.0, &y)])), format!("linear_combination: {shapes}"));
    assert_eq!(message(linear_combination(&[])), "linear_combination: expected at least one term, got none");
    assert_eq!(message(select(&y, x.clone(), &x)), format!("select: {shapes}"));
    assert_eq!(message(index_select(&x, &[0, 2])), "index_select: expected indices below 2, got [0, 2]");
    let half = Tensor::from_weight(&[2], WeightBytes::new(DType::F16, &[0; 4])).unwrap();
    assert_eq!(all_finite(&half).unwrap_err().to_string(), "all_finite: expected f32, got f16");
}
