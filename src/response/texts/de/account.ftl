### Die Kontoseite.

account-heading = Ihr Konto
account-who-html = Sie sind bei <strong>{ $place }</strong> als <strong>{ $username }</strong> angemeldet.
account-stale = Diese Seite war länger geöffnet, und es wurde nichts geändert. Bitte versuchen Sie es noch einmal.
account-refused-title = Nichts wurde geändert
account-incorrect = Das ist nicht Ihr aktuelles Passwort.
account-unavailable = Das geht gerade nicht. Bitte versuchen Sie es in einigen Sekunden erneut.
account-none = keine

account-profile = Profil
account-email = E-Mail-Adresse
account-roles = Rollen
account-name = Name
account-name-hint = Unter diesem Namen können Anwendungen Sie ansprechen.
account-name-submit = Namen speichern
account-name-odd = Ein Name hat höchstens 256 Zeichen, darunter keine Steuerzeichen.

account-password-lead = Wenn Sie Ihr Passwort ändern, werden Sie überall außer hier abgemeldet. Zugriffstoken werden ungültig; persönliche Zugriffstoken bleiben gültig.
account-present = Aktuelles Passwort
account-present-missing = Geben Sie Ihr aktuelles Passwort ein.
account-new-missing = Geben Sie ein neues Passwort ein.
account-password-submit = Passwort ändern

account-sessions = Wo Sie angemeldet sind
account-sessions-lead = Wenn Sie ein Gerät nicht kennen, melden Sie es ab und ändern Sie Ihr Passwort.
account-device = { $browser } unter { $system }
account-device-unknown = Unbekanntes Gerät
account-this-device = Dieses Gerät
account-last-use = Zuletzt benutzt
account-signed-in = Angemeldet
account-remembered = bleibt angemeldet
account-session-gone = Dieses Gerät ist bereits abgemeldet.
account-sessions-submit = Alle anderen abmelden

account-invitations = Einladungen
account-invitations-lead = Laden Sie andere ein, hier ein Konto anzulegen. Die Eingeladenen erhalten per E-Mail einen Link, der sieben Tage lang gilt und einmal funktioniert.
account-invite-email = E-Mail-Adresse
account-invite-hint = In der E-Mail steht Ihr Benutzername.
account-invite-submit = Einladung senden
account-invite-left = Noch { $left } gültig
account-invite-revoke = Zurückziehen
account-invite-gone = Diese Einladung wurde bereits benutzt oder zurückgezogen, oder sie ist abgelaufen.
account-invite-mailbox = An diese Adresse kann vorerst keine weitere Einladung gesendet werden. Bitte versuchen Sie es später erneut.
account-invite-not-allowed = Ihr Konto darf niemanden einladen.
account-invite-too-many = { $limit } Einladungen sind offen; mehr sind nicht möglich. Ziehen Sie zuerst eine zurück oder warten Sie, bis eine benutzt wurde.

account-delete = Konto löschen
account-delete-lead = Ihr Konto und alles, was hier dazugehört, wird sofort gelöscht und lässt sich nicht wiederherstellen.
account-delete-submit = Mein Konto löschen

notice-account-deleted = Ihr Konto ist gelöscht.
notice-invitation-revoked = Die Einladung ist zurückgezogen. Der Link gilt nicht mehr.
notice-invitation-sent = Eine E-Mail an diese Adresse ist unterwegs. Falls zu ihr bereits ein Konto besteht, steht das in der E-Mail.
notice-other-sessions-ended = Sie sind überall außer hier abgemeldet.
notice-password-changed = Ihr Passwort ist geändert. Sie sind überall außer hier abgemeldet.
notice-profile-saved = Ihr Name ist gespeichert.
notice-session-ended = Dieses Gerät ist abgemeldet.
