# The metadata service of EC2 as AWS itself imitates it, with a mode that answers to session tokens (IMDSv2) alone.
# part: ec2-metadata-mock-1.13.0
build_part() {
  module=github.com/aws/amazon-ec2-metadata-mock
  go_build "$module@v${part#ec2-metadata-mock-}" -- "$module/cmd/ec2-metadata-mock=ec2-metadata-mock"
}
