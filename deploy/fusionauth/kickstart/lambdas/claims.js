// What rules want to know about a customer, from the user's data.
function populate(jwt, user, registration) {
  jwt.plan = 'free';
  if (user.data.plan === 'pro') {
    jwt.plan = 'pro';
  }
  if (user.data.plan === 'enterprise') {
    jwt.plan = 'enterprise';
  }
  jwt.org = user.data.org;
}
