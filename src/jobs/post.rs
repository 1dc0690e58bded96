//! Mail: a message with its parts, and where it goes.
//!
//! Without a mail server it goes into a folder, a file a message, which a demo and a test read; with one
//! (`--mail-server`, cargo feature `bridges`) it goes there. The message's id is made of the job's: sent twice, it is
//! the same message to whoever gets it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lettre::message::header::ContentType;
use lettre::message::{Attachment, Mailbox, MultiPart, SinglePart};
use lettre::{Address, Message};

use super::kinds::{EMAIL, EmailWanted};
use super::papers::{Papers, Unmade};
use super::queue::{Ctl, Handler, Job, KindLimits, Outcome, Work};
use super::templates::{Letter, Templates};

/// Where mail goes.
#[derive(Clone, Debug)]
pub enum MailTo {
    /// Into a folder.
    Folder(PathBuf),
    /// To a server: `smtp://host:port`, `smtps://…`, with a user and a password where it wants them.
    #[cfg(feature = "bridges")]
    Server(String),
}

/// Sends mails.
#[derive(Debug)]
pub struct Post {
    from: Mailbox,
    to: MailTo,
    papers: Arc<Papers>,
    templates: Templates,
    #[cfg(feature = "bridges")]
    transport: Option<lettre::AsyncSmtpTransport<lettre::Tokio1Executor>>,
}

/// Why no mail can be sent.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// The sender.
    #[error("{0:?} is no address that mail can come from")]
    From(String),
    /// The server.
    #[error("the mail server's address is not understood: {0}")]
    Server(String),
    /// The folder.
    #[error("the folder of mails cannot be made: {0}")]
    Folder(std::io::Error),
}

impl Post {
    /// Mail from an address.
    ///
    /// # Errors
    /// [`PostError`].
    pub fn open(from: &str, to: MailTo, papers: Arc<Papers>, templates: Templates) -> Result<Post, PostError> {
        let from: Mailbox = from.parse().map_err(|_| PostError::From(from.to_owned()))?;
        #[cfg(feature = "bridges")]
        let transport = match &to {
            MailTo::Folder(_) => None,
            MailTo::Server(url) => {
                let transport = lettre::AsyncSmtpTransport::<lettre::Tokio1Executor>::from_url(url);
                let transport = transport.map_err(|error| PostError::Server(error.to_string()))?;
                Some(transport.timeout(Some(Duration::from_secs(20))).build())
            }
        };
        match &to {
            MailTo::Folder(folder) => std::fs::create_dir_all(folder).map_err(PostError::Folder)?,
            #[cfg(feature = "bridges")]
            MailTo::Server(_) => {}
        }
        Ok(Post {
            from,
            to,
            papers,
            templates,
            #[cfg(feature = "bridges")]
            transport,
        })
    }

    /// The message of a job; the same each time.
    fn message(&self, job: &Job, wanted: &EmailWanted, letter: Letter) -> Result<Message, Unmade> {
        let never = |error: &dyn std::fmt::Display| Unmade::Never(error.to_string());
        let to: Address = wanted.to.parse().map_err(|error| never(&format!("{:?}: {error}", wanted.to)))?;
        let domain = self.from.email.domain();
        let date = UNIX_EPOCH + Duration::from_micros(u64::try_from(job.created_at.0).unwrap_or_default());
        let builder = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            // What looks encoded would be shown decoded (RFC 2047, 5), and so as something else.
            .subject(letter.subject.replace("=?", "= ?"))
            .message_id(Some(format!("<{}@{domain}>", job.id)))
            .date(date.max(UNIX_EPOCH).min(SystemTime::now()));
        let text = SinglePart::plain(letter.text);
        let message = match &wanted.attach {
            None => builder.singlepart(text),
            Some(document) => {
                let made = self.papers.make(document, job)?;
                let pdf = ContentType::parse("application/pdf").map_err(|error| never(&error))?;
                let parts =
                    MultiPart::mixed().singlepart(text).singlepart(Attachment::new(made.name).body(made.pdf, pdf));
                builder.multipart(parts)
            }
        };
        message.map_err(|error| never(&error))
    }

    #[cfg_attr(not(feature = "bridges"), expect(clippy::unused_async, reason = "a mail server is awaited"))]
    async fn send(&self, job: &Job) -> Outcome {
        let wanted: EmailWanted = match serde_json::from_slice(&job.args) {
            Ok(wanted) => wanted,
            Err(error) => return Outcome::Dead { why: format!("its arguments are not understood: {error}") },
        };
        let letter = match self.templates.letter(&wanted) {
            Ok(letter) => letter,
            Err(why) => return Outcome::Dead { why },
        };
        let message = match self.message(job, &wanted, letter) {
            Ok(message) => message,
            // What the document is of may be there later; the schedule of attempts bounds it.
            Err(unmade) => return unmade.outcome(),
        };
        match &self.to {
            MailTo::Folder(folder) => match write_whole(folder, &format!("{}.eml", job.id), &message.formatted()) {
                Ok(()) => Outcome::Done,
                Err(error) => Outcome::Retry { after: None, why: format!("the mail could not be written: {error}") },
            },
            #[cfg(feature = "bridges")]
            MailTo::Server(_) => self.hand_over(message).await,
        }
    }

    #[cfg(feature = "bridges")]
    async fn hand_over(&self, message: Message) -> Outcome {
        use lettre::AsyncTransport;
        let Some(transport) = &self.transport else {
            return Outcome::Retry { after: None, why: "there is no mail server".into() };
        };
        match transport.send(message).await {
            Ok(_) => Outcome::Done,
            // 5xx: the server will never take it.
            Err(error) if error.is_permanent() => Outcome::Dead { why: error.to_string() },
            Err(error) => Outcome::Retry { after: None, why: error.to_string() },
        }
    }
}

impl Handler for Post {
    fn kind(&self) -> &'static str {
        EMAIL
    }

    fn limits(&self) -> KindLimits {
        KindLimits { concurrency_max: 4, is_blocking: true, ..KindLimits::default() }
    }

    fn run<'a>(&'a self, job: &'a Job, _ctl: &'a Ctl) -> Work<'a> {
        Box::pin(self.send(job))
    }
}

/// Writes a file that is there whole or not at all.
///
/// # Errors
/// The disk's.
pub fn write_whole(folder: &Path, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let (part, whole) = (folder.join(format!(".{name}.part")), folder.join(name));
    std::fs::write(&part, bytes)?;
    std::fs::File::open(&part)?.sync_all()?;
    std::fs::rename(part, whole)?;
    // The new name is there after a power cut only when its folder is.
    std::fs::File::open(folder)?.sync_all()
}
