//! How many multiply-adds a UNet is, counted from its sizes alone.

use latent_diffusion::unet::UNetConfig;

/// An image's sides at a level.
type Sides = [usize; 2];

/// Multiply-adds of the convolutions, linear layers and attentions of one evaluation of one image, by the direct
/// algorithm.
pub(crate) fn of_unet(config: &UNetConfig, sides: Sides, tokens: usize) -> u64 {
    let channels = &config.block_out_channels;
    let (first, levels) = (channels[0], channels.len());
    let sides: Vec<Sides> =
        (0..levels).scan(sides, |s, _| Some(std::mem::replace(s, s.map(|n| n.div_ceil(2))))).collect();
    let mut skips = vec![first];
    let mut sum =
        conv3x3(sides[0], config.in_channels, first) + conv3x3(sides[0], first, config.out_channels);
    sum += mlp(first, 4 * first) + config.added_dim.map_or(0, |dim| mlp(dim, 4 * first));

    let mut inputs = first;
    for level in 0..levels {
        let outputs = channels[level];
        for _ in 0..config.layers_per_block {
            sum += resnet(config, sides[level], inputs, outputs);
            sum += transformer(config, sides[level], outputs, config.transformer_depth[level], tokens);
            inputs = outputs;
            skips.push(outputs);
        }
        if level + 1 < levels {
            sum += conv3x3(sides[level + 1], outputs, outputs);
            skips.push(outputs);
        }
    }
    sum += config.mid_resnets as u64 * resnet(config, sides[levels - 1], inputs, inputs);
    sum += transformer(config, sides[levels - 1], inputs, config.mid_depth, tokens);
    for level in (0..levels).rev() {
        let outputs = channels[level];
        for layer in 0..=config.layers_per_block {
            sum += resnet(config, sides[level], inputs + skips.pop().unwrap(), outputs);
            sum += transformer(config, sides[level], outputs, config.up_block_depth(level, layer), tokens);
            inputs = outputs;
        }
        if level > 0 {
            sum += conv3x3(sides[level - 1], outputs, outputs);
        }
    }
    sum
}

fn linear(rows: usize, inputs: usize, outputs: usize) -> u64 {
    (rows * inputs * outputs) as u64
}

/// `sides` are those of its output.
fn conv3x3([height, width]: Sides, inputs: usize, outputs: usize) -> u64 {
    linear(height * width, 9 * inputs, outputs)
}

fn mlp(inputs: usize, width: usize) -> u64 {
    linear(1, inputs, width) + linear(1, width, width)
}

fn resnet(config: &UNetConfig, sides: Sides, inputs: usize, outputs: usize) -> u64 {
    let shortcut = if inputs == outputs { 0 } else { linear(sides[0] * sides[1], inputs, outputs) };
    let time = linear(1, 4 * config.block_out_channels[0], outputs);
    conv3x3(sides, inputs, outputs) + conv3x3(sides, outputs, outputs) + shortcut + time
}

fn transformer(
    config: &UNetConfig,
    [height, width]: Sides,
    channels: usize,
    depth: usize,
    tokens: usize,
) -> u64 {
    if depth == 0 {
        return 0;
    }
    let pixels = height * width;
    let square = linear(pixels, channels, channels);
    // The products of queries and keys, and of their weights and the values.
    let scores = |keys| 2 * linear(pixels, keys, channels);
    let own = 4 * square + scores(pixels);
    let text = 2 * square + 2 * linear(tokens, config.cross_attention_dim, channels) + scores(tokens);
    let feed_forward = linear(pixels, channels, 8 * channels) + linear(pixels, 4 * channels, channels);
    2 * square + depth as u64 * (own + text + feed_forward)
}
