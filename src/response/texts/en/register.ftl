### Making an account and confirming an address.

register-heading = Create an account
register-at-html = at <strong>{ $place }</strong>
register-invited-html = You are invited as <strong>{ $email }</strong>.
register-username-hint = You sign in with it, and others may see it.
register-email = Email address
register-email-hint = We send you a mail with a link that confirms it.
register-name = Your name (optional)
register-name-hint = As others are to see you.
register-submit = Create account
register-approval = An administrator looks at each new account before it can be used.
register-login = Sign in instead

register-username-taken-title = Username taken
register-username-taken = This username is taken. Please choose another one.
register-username-invalid = A username has 1 to 128 characters, no @ and no blank at either end.
register-username-colon = A username can’t hold a colon. Please choose another one.
register-username-mixed = A username can’t mix letters of different scripts, such as Latin and Cyrillic ones. Please choose another one.
register-email-taken-title = Email address taken
register-email-taken = There is an account with this email address. You can sign in with it.
register-email-invalid = Enter an email address such as name@example.com.
register-email-domain-title = Email address not accepted
register-email-domain = Addresses of this domain can’t be used here.
register-name-invalid = A name has 256 characters at most.
register-password-empty = Enter a password.
register-unavailable = The account can’t be made at the moment. Please try again in a few seconds.
register-limited = Too many accounts were made from here. Please try again { $wait }.
register-limited-title = Too many requests
register-needs-invitation-title = By invitation only
register-needs-invitation = Accounts are made here by invitation. Ask an administrator for one.
invitation-invalid = An invitation works once and for seven days. Ask whoever invited you for a new one.

confirm-heading = Confirm your address
confirm-own-html = Is <strong>{ $email }</strong> your address, and did you create the account <strong>{ $username }</strong>?
confirm-new-html = Is <strong>{ $email }</strong> to be the address of the account <strong>{ $username }</strong>?
confirm-submit = Yes, confirm
confirm-not-you = If that was not you, close this page. Nothing happens without your confirmation.
confirm-taken-title = Address taken
confirm-taken = By now another account has this address. Yours keeps the one that it had.

pending-unconfirmed-title = Confirm your address first
pending-unconfirmed = Your password is right. We have sent you a mail with a link: open it to confirm your address, then sign in.
pending-resend = Send the mail again
pending-spam = If no mail arrives, look into the folder for spam.
pending-approval-title = Almost there
pending-approval = Your password is right. An administrator has to let you in before you can sign in.

notice-registered = Your account is ready. You can sign in now.
notice-registered-confirm = Please look into your mailbox: the mail that we have sent you holds a link that confirms your address.
notice-registered-waiting = Your account is made. You can sign in once an administrator has let you in.
notice-confirmation-sent = If the account waits to be confirmed, a mail with a new link is on its way.
notice-address-confirmed = Your address is confirmed. You can sign in now.
notice-address-confirmed-waiting = Your address is confirmed. You can sign in once an administrator has let you in.
notice-address-changed = Your new email address is confirmed.
