### Setting a password by a link.

reset-heading = Choose a password
reset-who-html = for <strong>{ $username }</strong>
reset-password = New password
reset-hint = A few words in a row are easy to remember and hard to guess.
reset-again = Repeat the new password
reset-submit = Set password
reset-elsewhere = If you are signed in elsewhere, you will be signed out there.
reset-empty = Enter a password.
reset-differs = The two passwords are not the same. Please enter both once more.
reset-stale = This page was open for a while. Please enter the password once more.
reset-unavailable = The password can’t be set at the moment. Please try again in a few seconds.
reset-weak-title = Password too weak

link-incomplete = The link is not complete. Please copy all of it.
link-invalid-title = This link is not valid any more
link-invalid = It works once and for a limited time. Ask whoever sent it to you for a new one.

forgot-heading = Forgot your password?
forgot-lead = We send you a link with which you choose a new one.
forgot-submit = Send link
forgot-stale = This page was open for a while. Please send it once more.
forgot-unavailable = The link can’t be sent at the moment. Please try again in a few seconds.
forgot-limited = Too many links were asked for from here. Please try again { $wait }.
notice-link-sent = If there is an account with this address, a mail with a link is on its way. The link is good for one hour.

address-heading = Change email address
address-present-html = Your current address is <strong>{ $email }</strong>.
address-none = Your account has no address yet.
address-new = New email address
address-hint = We send a mail with a link there. Until you open it, the current address stays.
address-password = Your password
address-submit = Change address
address-back = Back to the account
address-same = This is your address already.
address-incorrect-title = Incorrect password
address-unavailable = The address can’t be changed at the moment. Please try again in a few seconds.
notice-address-changing = Please look into the mailbox of your new address: the link that we have sent there confirms it.
address-link = Change address
