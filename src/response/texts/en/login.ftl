### Signing in and out.

login-heading = Sign in
login-continue-html = to continue to <strong>{ $place }</strong>
login-still-you = Please show that it is still you.
login-still-you-before-html = Before you go on to <strong>{ $place }</strong>, please show that it is still you.
login-remember = Remember me for { $lasting }
login-submit = Sign in
login-confirm = Confirm
login-forgot = Forgot your password?
login-register = Create an account
login-elsewhere = You have signed in in another tab.
login-go-on = Continue
login-incorrect-title = Incorrect username or password
login-incorrect = Incorrect username or password.
login-incomplete = Enter your username and your password.
login-unavailable = Passwords can’t be checked at the moment. Please try again in a few seconds.

logout-title = Sign out
logout-heading = Sign out?
logout-who-html = You are signed in as <strong>{ $username }</strong>.
logout-submit = Sign out
logout-stay = Stay signed in
logout-nobody = You are not signed in
logout-nothing = There is nothing to sign out of.

notice-signed-out = You are signed out.
notice-password-set = Your password is set. You can sign in with it now.
