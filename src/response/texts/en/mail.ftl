### Mails.
