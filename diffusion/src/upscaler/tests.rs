//! Networks of random weights against a plain computation in `f64`, in every kind of file, whole and in tiles.

use super::*;
use crate::rng::RngKind;
use latent_loader::{Checkpoint, DType, NewTensor, Writer};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// A convolution `[outputs, inputs, 3, 3]` and its bias.
struct Conv {
    shape: [usize; 2],
    weight: Vec<f32>,
    bias: Vec<f32>,
}

type Net = BTreeMap<String, Conv>;

fn scale(config: &EsrganConfig) -> usize {
    UpscalerConfig::Esrgan(config.clone()).scale()
}

/// Random weights, so large that signals keep about their size.
fn random(config: &EsrganConfig) -> Net {
    let mut net = Net::new();
    let mut seed = 1;
    let mut put = |name: String, outputs: usize, inputs: usize| {
        let mut normal = |count: usize, size: f32| {
            seed += 1;
            let mut values = vec![0.0; count];
            RngKind::Cpu.generator(seed).normal(&mut values);
            values.iter_mut().for_each(|v| *v *= size);
            values
        };
        let weight = normal(outputs * inputs * 9, (1.5 / (9.0 * inputs as f32)).sqrt());
        net.insert(name, Conv { shape: [outputs, inputs], weight, bias: normal(outputs, 0.05) });
    };
    let EsrganConfig { features, growth, blocks, doublings, .. } = *config;
    put("conv_first".into(), features, config.inputs());
    for block in 0..blocks {
        for dense in 1..=3 {
            let name = |i: usize| format!("body.{block}.rdb{dense}.conv{i}");
            (1..5).for_each(|i| put(name(i), growth, features + (i - 1) * growth));
            put(name(5), features, features + 4 * growth);
        }
    }
    put("conv_body".into(), features, features);
    (1..=doublings).for_each(|i| put(format!("conv_up{i}"), features, features));
    put("conv_hr".into(), features, features);
    put("conv_last".into(), RGB, features);
    // Colours about the middle.
    if let Some(last) = net.get_mut("conv_last") {
        last.weight.iter_mut().for_each(|v| *v *= 0.3);
        last.bias.fill(0.5);
    }
    net
}

/// A file of the network, with names that `name` makes of the canonical ones.
fn file(net: &Net, name: impl Fn(&str) -> String) -> Checkpoint {
    let mut tensors = Vec::new();
    let mut values = BTreeMap::new();
    for (path, Conv { shape: [outputs, inputs], weight, bias }) in net {
        let mut put = |end: &str, shape: Vec<usize>, data: &[f32]| {
            let name = name(&format!("{path}.{end}"));
            values.insert(name.clone(), data.to_vec());
            tensors.push(NewTensor { name, dtype: DType::F32, shape });
        };
        put("weight", vec![*outputs, *inputs, 3, 3], weight);
        put("bias", vec![*outputs], bias);
    }
    let mut writer = Writer::begin(Vec::new(), &BTreeMap::new(), &mut tensors).unwrap();
    for tensor in &tensors {
        let bytes: Vec<u8> = values[&tensor.name].iter().flat_map(|v| v.to_le_bytes()).collect();
        writer.write(&bytes).unwrap();
    }
    Checkpoint::from_bytes("upscaler", writer.end().unwrap()).unwrap()
}

/// The names of the first ESRGAN.
fn numbered(config: &EsrganConfig, name: &str) -> String {
    let (path, end) = name.rsplit_once('.').unwrap();
    let doublings = config.doublings;
    let path = match path {
        "conv_first" => "model.0".to_owned(),
        "conv_body" => format!("model.1.sub.{}", config.blocks),
        "conv_hr" => format!("model.{}", 2 + 3 * doublings),
        "conv_last" => format!("model.{}", 4 + 3 * doublings),
        path => match path.strip_prefix("conv_up") {
            Some(i) => format!("model.{}", 3 * i.parse::<usize>().unwrap()),
            None => path.replacen("body.", "model.1.sub.", 1).replace("rdb", "RDB") + ".0",
        },
    };
    format!("{path}.{end}")
}

/// Values `[height, width, channels]`.
#[derive(Clone)]
struct Map {
    size: [usize; 2],
    channels: usize,
    values: Vec<f64>,
}

impl Map {
    fn at(&self, y: usize, x: usize, channel: usize) -> f64 {
        self.values[(y * self.size[1] + x) * self.channels + channel]
    }

    fn make(size: [usize; 2], channels: usize, value: impl Fn(usize, usize, usize) -> f64) -> Map {
        let pixels = (0..size[0]).flat_map(|y| (0..size[1]).map(move |x| (y, x)));
        let values = pixels.flat_map(|(y, x)| (0..channels).map(move |c| (y, x, c)));
        Map { size, channels, values: values.map(|(y, x, c)| value(y, x, c)).collect() }
    }

    fn conv(&self, conv: &Conv) -> Map {
        let [outputs, inputs] = conv.shape;
        assert_eq!(inputs, self.channels);
        Map::make(self.size, outputs, |y, x, output| {
            let mut sum = f64::from(conv.bias[output]);
            for (tap_y, tap_x) in (0..9).map(|tap| (tap / 3, tap % 3)) {
                let (y, x) = (y + tap_y, x + tap_x);
                if y == 0 || x == 0 || y > self.size[0] || x > self.size[1] {
                    continue;
                }
                for input in 0..inputs {
                    let weight = conv.weight[(output * inputs + input) * 9 + 3 * tap_y + tap_x];
                    sum += self.at(y - 1, x - 1, input) * f64::from(weight);
                }
            }
            sum
        })
    }

    fn leaky(mut self) -> Map {
        self.values.iter_mut().filter(|v| **v < 0.0).for_each(|v| *v *= 0.2);
        self
    }

    fn beside(&self, other: &Map) -> Map {
        Map::make(self.size, self.channels + other.channels, |y, x, c| match c.checked_sub(self.channels) {
            None => self.at(y, x, c),
            Some(c) => other.at(y, x, c),
        })
    }

    fn plus(&self, other: &Map, factor: f64) -> Map {
        Map::make(self.size, self.channels, |y, x, c| self.at(y, x, c) + factor * other.at(y, x, c))
    }
}

/// The network as the papers draw it.
fn reference(net: &Net, config: &EsrganConfig, pixels: &Map) -> Map {
    let conv = |name: &str, x: &Map| x.conv(&net[name]);
    let side = config.unshuffle;
    let [height, width] = pixels.size.map(|length| length / side);
    let squares = Map::make([height, width], config.inputs(), |y, x, c| {
        let (channel, at) = (c / (side * side), c % (side * side));
        pixels.at(y * side + at / side, x * side + at % side, channel)
    });
    let first = conv("conv_first", &squares);
    let mut hidden = first.clone();
    for block in 0..config.blocks {
        let before = hidden.clone();
        for dense in 1..=3 {
            let name = |i: usize| format!("body.{block}.rdb{dense}.conv{i}");
            let all = (1..5).fold(hidden.clone(), |all, i| all.beside(&conv(&name(i), &all).leaky()));
            hidden = hidden.plus(&conv(&name(5), &all), 0.2);
        }
        hidden = before.plus(&hidden, 0.2);
    }
    let mut x = first.plus(&conv("conv_body", &hidden), 1.0);
    for i in 1..=config.doublings {
        let twice =
            Map::make(x.size.map(|side| 2 * side), x.channels, |row, column, c| x.at(row / 2, column / 2, c));
        x = conv(&format!("conv_up{i}"), &twice).leaky();
    }
    conv("conv_last", &conv("conv_hr", &x).leaky())
}

fn image(width: usize, height: usize) -> Image {
    let mut noise = vec![0.0; 3 * width * height];
    RngKind::Cpu.generator(9).normal(&mut noise);
    let value = |(i, noise): (usize, &f32)| {
        let (x, y) = (i / 3 % width, i / 3 / width);
        let wave = ((x as f32 / 5.0).sin() + (y as f32 / 7.0 + (i % 3) as f32).cos()) * 60.0;
        (128.0 + wave + 8.0 * noise).clamp(0.0, 255.0) as u8
    };
    Image { width, height, rgb: noise.iter().enumerate().map(value).collect() }
}

fn upscale(file: &UpscalerFile, image: &Image, tiling: Tiling) -> Image {
    file.upscale(image, &Device::Cpu, tiling, &mut |_| ControlFlow::Continue(())).unwrap()
}

const WHOLE: Tiling = Tiling { side: 0, overlap: 0 };

#[test]
fn every_scale_in_every_kind_of_file_as_a_plain_computation() {
    for (doublings, unshuffle) in [(2, 1), (2, 2), (2, 4), (1, 1), (0, 1), (3, 1)] {
        let config = EsrganConfig { features: 12, growth: 5, blocks: 2, doublings, unshuffle };
        let (net, scale) = (random(&config), scale(&config));
        let image = image(8, 12);
        let pixels = Map::make([12, 8], RGB, |y, x, c| f64::from(image.rgb[(y * 8 + x) * 3 + c]) / 255.0);
        let want = reference(&net, &config, &pixels);
        let spread = want.values.iter().fold(0.0f64, |most, v| most.max((v - 0.5).abs()));
        assert!((0.05..10.0).contains(&spread), "{config:?}: {spread}");
        let files = [
            UpscalerFile::open(file(&net, |name| format!("params_ema.{name}"))).unwrap(),
            UpscalerFile::open(file(&net, |name| numbered(&config, name))).unwrap(),
        ];
        for file in &files {
            assert_eq!(file.config(), &UpscalerConfig::Esrgan(config.clone()));
            let network = file.load(&Device::Cpu, &mut |_| ControlFlow::Continue(())).unwrap();
            let values: Vec<f32> = pixels.values.iter().map(|v| *v as f32).collect();
            let got = network.forward(&Tensor::from_f32(&[1, 12, 8, 3], &values).unwrap()).unwrap();
            assert_eq!(got.dims(), [1, 12 * scale, 8 * scale, RGB]);
            for (got, want) in got.f32s().unwrap().iter().zip(&want.values) {
                assert!((f64::from(*got) - want).abs() < 1e-5, "{config:?}: {got} {want}");
            }
            let large = upscale(file, &image, WHOLE);
            for (got, want) in large.rgb.iter().zip(&want.values) {
                assert!((f64::from(*got) - want.clamp(0.0, 1.0) * 255.0).abs() < 0.51, "{got} {want}");
            }
        }
    }
}

/// The words of the later ESRGAN.
#[test]
fn the_later_names() {
    let config = EsrganConfig { features: 4, growth: 2, blocks: 1, doublings: 2, unshuffle: 1 };
    let net = random(&config);
    let words = file(&net, |name| {
        let name = name.replace("body.0.rdb", "RRDB_trunk.0.RDB").replace("conv_body", "trunk_conv");
        name.replace("conv_up", "upconv").replace("conv_hr", "HRconv")
    });
    let words = upscale(&UpscalerFile::open(words).unwrap(), &image(9, 5), WHOLE);
    assert_eq!(words, upscale(&UpscalerFile::open(file(&net, str::to_owned)).unwrap(), &image(9, 5), WHOLE));
}

/// The depth of the published networks, which is what tiles must stand.
#[test]
fn tiles_leave_no_seams() {
    for (unshuffle, doublings) in [(1, 1), (2, 2)] {
        let config = EsrganConfig { features: 8, growth: 4, blocks: 23, doublings, unshuffle };
        let file = UpscalerFile::open(file(&random(&config), str::to_owned)).unwrap();
        let image = image(131, 77);
        let whole = upscale(&file, &image, WHOLE);
        assert_eq!((whole.width, whole.height), (131 * scale(&config), 77 * scale(&config)));
        let levels: std::collections::BTreeSet<u8> = whole.rgb.iter().copied().collect();
        assert!(levels.len() > 50, "{} levels", levels.len());
        // A quarter of the usual overlap.
        let tiles = upscale(&file, &image, Tiling { side: 16, overlap: 16 });
        let most = whole.rgb.iter().zip(&tiles.rgb).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(most <= Some(2), "{config:?}: {most:?} of 255");
    }
}

/// What the head is given around its rows is all that they depend on.
#[test]
fn the_head_in_bands_gives_the_same() {
    for doublings in 0..4 {
        let config = EsrganConfig { features: 8, growth: 4, blocks: 1, doublings, unshuffle: 1 };
        let file = UpscalerFile::open(file(&random(&config), str::to_owned)).unwrap();
        let network = file.load(&Device::Cpu, &mut |_| ControlFlow::Continue(())).unwrap();
        let mut values = vec![0.0; 30 * 11 * 8];
        RngKind::Cpu.generator(3).normal(&mut values);
        let trunk = Tensor::from_f32(&[1, 30, 11, 8], &values).unwrap();
        let (size, scale) = ([30, 11], scale(&config));
        let whole = network.head.forward(&trunk).unwrap();
        let all = tiles::PixelRect { rows: 0..30, columns: 0..11 };
        for kept in all.bands(4) {
            let given = kept.grown(tiles::REACH, size);
            let band = network.head.forward(&tiles::cut(&trunk, &given).unwrap()).unwrap();
            let row = 3 * scale * 11;
            let from = (kept.rows.start - given.rows.start) * scale * row;
            let want = &whole.f32s().unwrap()[kept.rows.start * scale * row..kept.rows.end * scale * row];
            for (got, want) in band.f32s().unwrap()[from..].iter().zip(want) {
                assert!((got - want).abs() < 1e-5, "{doublings} doublings, {kept:?}: {got} {want}");
            }
        }
    }
}

#[test]
fn other_files_are_refused() {
    let config = EsrganConfig { features: 4, growth: 2, blocks: 2, doublings: 2, unshuffle: 1 };
    let refused = |change: &dyn Fn(&mut Net)| {
        let mut net = random(&config);
        change(&mut net);
        UpscalerFile::open(file(&net, str::to_owned)).err().unwrap().to_string()
    };
    let holds = |text: String, part: &str| assert!(text.contains(part), "{text}");
    holds(refused(&|net| net.retain(|name, _| name == "conv_first")), "no body.0.rdb1.conv1.weight");
    holds(refused(&|net| drop(net.remove("conv_first"))), "holds no upscaler");
    holds(refused(&|net| drop(net.remove("body.1.rdb2.conv3"))), "body.1.rdb2.conv3.weight");
    holds(refused(&|net| drop(net.remove("conv_last"))), "conv_last.weight");
    let wide = Conv { shape: [4, 5], weight: vec![0.0; 180], bias: vec![0.0; 4] };
    holds(
        refused(&|net| net.insert("conv_first".into(), Conv { ..copy(&wide) }).map_or((), drop)),
        "5 channels",
    );
    holds(refused(&|net| net.insert("conv_hr".into(), copy(&wide)).map_or((), drop)), "conv_hr.weight");
    let plus = |net: &mut Net| drop(net.insert("body.0.rdb1.conv1x1".into(), copy(&wide)));
    holds(refused(&plus), "body.0.rdb1.conv1x1.");
    let demo = UpscalerFile::open(Checkpoint::from_bytes("demo", latent_demo::DEMO.unwrap()).unwrap());
    holds(demo.err().unwrap().to_string(), "not an upscaler but a model");
}

fn copy(conv: &Conv) -> Conv {
    Conv { shape: conv.shape, weight: conv.weight.clone(), bias: conv.bias.clone() }
}

#[test]
fn images_that_cannot_be_enlarged_are_refused_before_anything_is_read() {
    let config = EsrganConfig { features: 4, growth: 2, blocks: 1, doublings: 2, unshuffle: 1 };
    let file = UpscalerFile::open(file(&random(&config), str::to_owned)).unwrap();
    for image in [
        Image { width: 0, height: 3, rgb: Vec::new() },
        Image { width: 2, height: 2, rgb: vec![0; 3] },
        Image { width: 8192, height: 8192, rgb: vec![0; 3 * 8192 * 8192] },
    ] {
        let mut listener = |_: Event<'_>| panic!("nothing is to be read");
        assert!(file.upscale(&image, &Device::Cpu, WHOLE, &mut listener).is_err());
    }
    // Cancelled between two tiles.
    let mut listener = |event: Event<'_>| match event {
        Event::Upscaled { tile: 1, total } if total > 1 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let tiling = Tiling { side: 4, overlap: 1 };
    let cancelled = file.upscale(&image(20, 20), &Device::Cpu, tiling, &mut listener);
    assert!(matches!(cancelled, Err(Error::Cancelled)));
}

#[test]
fn memory_is_bounded_by_the_tiles() {
    let config = EsrganConfig { features: 64, growth: 32, blocks: 23, doublings: 2, unshuffle: 1 };
    let memory = |side, tiling| UpscalerConfig::Esrgan(config.clone()).memory(side, side, tiling);
    let whole = memory(4096, WHOLE);
    let tiled = memory(4096, Tiling::default());
    // The images themselves: 16 million pixels as bytes and numbers, 268 million as bytes.
    assert!(whole > 10 * tiled / 2 && tiled < 3 << 30, "{whole} {tiled}");
    assert!(memory(512, Tiling { side: 128, overlap: 32 }) < memory(512, WHOLE) / 3);
}

/// Parts of any shape, with tiles of odd sizes and pixels that are unshuffled first, have the bytes of the whole.
#[test]
fn parts_have_the_bytes_of_the_whole() {
    for (unshuffle, doublings) in [(1, 1), (2, 2), (4, 2), (2, 1)] {
        let config = EsrganConfig { features: 8, growth: 4, blocks: 1, doublings, unshuffle };
        let file = UpscalerFile::open(file(&random(&config), str::to_owned)).unwrap();
        let network = file.load(&Device::Cpu, &mut |_| ControlFlow::Continue(())).unwrap();
        let (size, tiling) = ((71, 45), Tiling { side: 7, overlap: 3 });
        let image = image(size.0, size.1);
        let whole = upscale(&file, &image, tiling);
        let mut wanted = file.config().yields(size, tiling).unwrap();
        assert!(wanted.len() > 2, "{config:?}");
        let pixels: usize = wanted.iter().map(PixelRect::pixels).sum();
        assert_eq!(pixels, whole.width * whole.height);
        // Some of several tiles, and single pixels.
        let side = |side: usize| side * scale(&config);
        wanted.extend(
            [(0..side(45), 5..9), (side(20)..side(20) + 1, 0..side(71)), (side(44)..side(45), 0..1)]
                .map(|(rows, columns)| PixelRect { rows, columns }),
        );
        for wanted in wanted {
            let part = UpscaledPart { size, wanted };
            let seen = file.config().seen(&part, tiling).unwrap().cut(&image);
            let got = network.upscale_part(&seen, &part, tiling, &mut |_| ControlFlow::Continue(())).unwrap();
            assert!(got == part.wanted.cut(&whole), "{config:?}: {part:?}");
        }
    }
}

#[test]
fn parts_that_are_none_are_refused() {
    let config = EsrganConfig { features: 4, growth: 2, blocks: 1, doublings: 1, unshuffle: 1 };
    let file = UpscalerFile::open(file(&random(&config), str::to_owned)).unwrap();
    let refused = |part: &UpscaledPart, seen: &Image| {
        let mut listener = |_: Event<'_>| ControlFlow::Continue(());
        file.upscale_part(seen, part, &Device::Cpu, WHOLE, &mut listener).unwrap_err().to_string()
    };
    let part = |size, rows, columns| UpscaledPart { size, wanted: PixelRect { rows, columns } };
    for part in [
        part((8, 8), 3..3, 0..8),
        part((8, 8), 0..8, 8..17),
        part((0, 8), 0..8, 0..8),
        part((8, 8), usize::MAX - 1..usize::MAX, 0..1),
    ] {
        assert!(refused(&part, &image(8, 8)).contains("is not a part of"), "{part:?}");
    }
    assert!(refused(&part((1 << 40, 1 << 40), 0..1, 0..1), &image(8, 8)).contains("million"));
    let line = refused(&part((8, 8), 0..16, 0..16), &image(7, 8));
    assert!(line.contains("7x8 pixels with 168 values are not the 8x8"), "{line}");
}
