### The account page.

account-heading = Your account
account-who-html = You are signed in to <strong>{ $place }</strong> as <strong>{ $username }</strong>.
account-stale = This page was open for a while, and nothing was changed. Please try once more.
account-refused-title = Nothing was changed
account-incorrect = That is not your current password.
account-unavailable = This can’t be done at the moment. Please try again in a few seconds.
account-none = none

account-profile = Profile
account-email = Email
account-roles = Roles
account-name = Name
account-name-hint = This is how applications may call you.
account-name-submit = Save name
account-name-odd = A name has at most 256 characters, none of them a control character.

account-password-lead = With a new password you are signed out everywhere but here, and access tokens end; personal access tokens stay.
account-present = Current password
account-present-missing = Enter your current password.
account-new-missing = Enter a new password.
account-password-submit = Change password

account-sessions = Where you are signed in
account-sessions-lead = If you don’t recognise a device, sign it out and change your password.
account-device = { $browser } on { $system }
account-device-unknown = Unknown device
account-this-device = This device
account-last-use = Last used
account-signed-in = Signed in
account-remembered = remembered
account-session-gone = This device is signed out already.
account-sessions-submit = Sign out all others

account-invitations = Invitations
account-invitations-lead = Invite others to make an account here. They get a link by mail that works once and for seven days.
account-invite-email = Email
account-invite-hint = Your username is in the mail.
account-invite-submit = Send invitation
account-invite-left = Good for another { $left }
account-invite-revoke = Take back
account-invite-gone = This invitation was used, has ended or was taken back already.
account-invite-mailbox = No further invitation can be sent to this address for now. Please try again later.
account-invite-not-allowed = Your account may not invite others.
account-invite-too-many = { $limit } invitations are open, and there can’t be more. Take one back first, or wait until one is used.

account-delete = Delete account
account-delete-lead = Your account and everything that belongs to it here is gone at once, and can’t be brought back.
account-delete-submit = Delete my account

notice-account-deleted = Your account is deleted.
notice-invitation-revoked = The invitation is taken back. Its link no longer works.
notice-invitation-sent = A mail is on its way to this address. Whoever has an account already is told so in it.
notice-other-sessions-ended = You are signed out everywhere but here.
notice-password-changed = Your password is changed. You are signed out everywhere but here.
notice-profile-saved = Your name is saved.
notice-session-ended = That device is signed out.
