//! What comes of a job's parts: images are written and listed, and parts of one image become that image.

use super::result::{MAX_WARNINGS, SentJob};
use super::whole::{ComposedImage, WholeImage};
use super::wire::{self, MAX_RESULT_IMAGES, ResultImage, ResultMessage};
use crate::error::{ApiError, ErrorCode};
use crate::queue::{JobNotice, ServerEvent};
use latent_app::output::Output;

/// Letters of a name's end at most: two seeds.
const MAX_SUFFIX: usize = 48;

impl SentJob {
    /// Takes the result of a part, the first time.
    pub(super) async fn take(&mut self, index: usize) -> Result<(), ApiError> {
        if self.parts.get(index).is_none_or(|part| part.images.is_some()) {
            return Ok(());
        }
        let key = self.front.key(self.record.id, index);
        let Some(bytes) = self.front.broker.result(&key).await? else { return Ok(()) };
        let message: ResultMessage = wire::read("the result of a worker", &bytes)?;
        self.objects.extend(message.objects());
        let metrics = &self.front.parts.metrics.shared_queue;
        metrics.worker_ms.add(message.took_ms);
        metrics.redelivered.add(message.deliveries.saturating_sub(1));
        self.begin();
        message.warnings.iter().take(MAX_WARNINGS).for_each(|line| self.warn(line));
        if let Some(mut error) = message.error {
            error.message = wire::line(&error.message);
            if error.code == ErrorCode::Unavailable {
                // Here that is said of the broker alone.
                error.code = ErrorCode::Failed;
            }
            return self.fail_part(index, error);
        }
        if message.images.len() > MAX_RESULT_IMAGES {
            return Err(ApiError::failed("the result of a worker has too many images"));
        }
        if self.whole.is_some() {
            return self.take_piece(index, &message.images).await;
        }
        let mut names = Vec::new();
        for image in &message.images {
            names.push(self.take_image(image).await?);
        }
        self.parts[index].images = Some(names);
        self.list_images(index, &message.images);
        Ok(())
    }

    /// A part that failed is the end of its job, but that a cell of a grid stays empty.
    fn fail_part(&mut self, index: usize, error: ApiError) -> Result<(), ApiError> {
        let Some(WholeImage::Grid(grid)) = &mut self.whole else {
            self.is_refused = true;
            return Err(error);
        };
        let line = format!("{}: {error}", grid.label(index));
        grid.set(index, Err(error));
        self.parts[index].images = Some(Vec::new());
        self.warn(&line);
        Ok(())
    }

    /// Keeps a part of the whole image.
    async fn take_piece(&mut self, index: usize, images: &[ResultImage]) -> Result<(), ApiError> {
        let [image] = images else {
            return Err(ApiError::failed("the result of a worker has not one image for a part of one"));
        };
        let bytes = self.front.broker.get_object(&image.object).await?;
        if let Some(whole) = &mut self.whole {
            whole.set(index, bytes, image.seed);
        }
        self.parts[index].images = Some(Vec::new());
        Ok(())
    }

    /// Writes the image of the parts, if they are one.
    pub(super) async fn compose(&mut self) -> Result<(), ApiError> {
        let Some(whole) = self.whole.take() else { return Ok(()) };
        let (gallery, stem) = (self.front.parts.gallery.clone(), self.record.stem.clone());
        let written = tokio::task::spawn_blocking(move || {
            let ComposedImage { image, texts, seed } = whole.compose()?;
            let name = seed.map_or_else(|| format!("{stem}.png"), |seed| format!("{stem}-{seed}.png"));
            let folder = gallery.folder();
            // Somebody may have tidied up.
            std::fs::create_dir_all(folder).map_err(|error| ApiError::io(&name, &error))?;
            let path = folder.join(&name);
            let written = Output::file(&path).and_then(|output| output.write(&path, &image, &texts));
            if let Err(error) = written {
                let mut error = ApiError::from(error);
                error.message = error.message.replace(&path.display().to_string(), &name);
                return Err(error);
            }
            gallery.added(&name);
            Ok::<_, ApiError>((name, seed.unwrap_or(0), image.width, image.height))
        });
        let written = written.await.map_err(|error| ApiError::failed(error.to_string()))?;
        let (name, seed, width, height) = written.inspect_err(|_| self.is_refused = true)?;
        self.list_image(&name, (seed, width, height), vec![name.clone()]);
        Ok(())
    }

    /// Writes an image; its name.
    async fn take_image(&self, image: &ResultImage) -> Result<String, ApiError> {
        let seeds = image.suffix.strip_suffix(".png").unwrap_or("?");
        let is_plain = seeds.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        if !is_plain || image.suffix.len() > MAX_SUFFIX {
            return Err(ApiError::failed(
                "the result of a worker names an image by something else than seeds",
            ));
        }
        let name = format!("{}{}", self.record.stem, image.suffix);
        let bytes = self.front.broker.get_object(&image.object).await?;
        let (gallery, own) = (self.front.parts.gallery.clone(), name.clone());
        let written = tokio::task::spawn_blocking(move || gallery.put(&own, &bytes)).await;
        written.map_err(|error| ApiError::failed(error.to_string()))??;
        Ok(name)
    }

    /// Tells of a part's images. Those of all parts are listed in their order, whichever comes first.
    fn list_images(&self, index: usize, images: &[ResultImage]) {
        let listed: Vec<String> =
            self.parts.iter().filter_map(|part| part.images.clone()).flatten().collect();
        let names = self.parts[index].images.iter().flatten();
        for (name, image) in names.zip(images) {
            self.list_image(name, (image.seed, image.width, image.height), listed.clone());
        }
    }

    /// Tells of an image. `listed` are all of the job, in their order.
    fn list_image(&self, name: &str, (seed, width, height): (u64, usize, usize), listed: Vec<String>) {
        let queue = &self.front.parts.queue;
        let url = format!("/api/v1/images/{name}").into();
        let notice = JobNotice::Image { name: name.into(), url, seed, width, height };
        queue.progress(self.record.id, |record, _| {
            record.images = listed;
            notice
        });
        queue.publish(ServerEvent::Gallery { added: [name.to_owned()].into(), removed: [].into() });
    }
}
