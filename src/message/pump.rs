//! The pump: moves a body from its source to its sink, at the pace of the slower peer (back-pressure).

use super::{BodyError, BodySink, BodySource, Piece};

/// How far a body is after everything that had arrived was passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// More is to come.
    Partial,
    /// The body is complete.
    Complete,
}

/// Passes on what has arrived, and gathers the end of the body if it is there. Small pieces stay in the sink until the
/// next flush.
///
/// # Errors
/// [`BodyError`].
pub async fn transfer(source: &mut BodySource<'_>, sink: &mut BodySink<'_>) -> Result<Progress, BodyError> {
    loop {
        match source.next_piece()? {
            Piece::Data(data) => {
                let (length, taken) = (data.len(), sink.try_write(data)?);
                if taken < length {
                    source.accept_part(taken);
                    send_rest(source, sink).await?;
                }
                sink.end_piece().await?;
            }
            Piece::Pending => return Ok(Progress::Partial),
            Piece::Trailers(section) => {
                sink.finish(section).await?;
                source.accept();
                return Ok(Progress::Complete);
            }
            Piece::End => {
                sink.finish(&[]).await?;
                return Ok(Progress::Complete);
            }
        }
        source.accept();
    }
}

/// Sends the rest of a piece that the receiver has not taken at once.
async fn send_rest(source: &mut BodySource<'_>, sink: &mut BodySink<'_>) -> Result<(), BodyError> {
    while !source.rest().is_empty() {
        match sink.try_write(source.rest())? {
            0 => sink.wait().await?,
            taken => source.accept_part(taken),
        }
    }
    Ok(())
}

/// Moves the rest of a body to its end, and sends everything that was gathered.
///
/// # Errors
/// [`BodyError`].
pub async fn pump(source: &mut BodySource<'_>, sink: &mut BodySink<'_>) -> Result<(), BodyError> {
    loop {
        let progress = transfer(source, sink).await?;
        flush(source, sink).await?;
        if progress == Progress::Complete {
            return Ok(());
        }
        if source.receive().await? == Piece::End {
            sink.finish(&[]).await?;
            return flush(source, sink).await;
        }
    }
}

/// Sends everything that was gathered. If that has to wait, the source keeps no more memory than it needs.
///
/// # Errors
/// [`BodyError`].
pub async fn flush(source: &mut BodySource<'_>, sink: &mut BodySink<'_>) -> Result<(), BodyError> {
    if !sink.try_flush()? {
        source.park();
    }
    Ok(sink.flush().await?)
}
