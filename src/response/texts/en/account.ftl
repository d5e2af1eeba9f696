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

account-delete = Delete account
account-delete-lead = Your account and everything that belongs to it here is gone at once, and can’t be brought back.
account-delete-submit = Delete my account

notice-account-deleted = Your account is deleted.
notice-other-sessions-ended = You are signed out everywhere but here.
notice-password-changed = Your password is changed. You are signed out everywhere but here.
notice-profile-saved = Your name is saved.
notice-session-ended = That device is signed out.
